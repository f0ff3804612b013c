package virtual

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// serving is a store with all built-in tables, and some objects.
func serving(t testing.TB) *Store {
	t.Helper()
	s := open(t)
	for _, r := range BuiltIn() {
		s.Serve(r)
		s.SetSynced(r.Kind, true)
	}
	return s
}

// crowd is such a store with 1000 pods.
func crowd(t testing.TB) *Store {
	t.Helper()
	s := serving(t)
	for i := range 1000 {
		k := key(pods, fmt.Sprint("ns", i%10), fmt.Sprint("p", i))
		put(t, s, k, fmt.Sprint("u", i), "1", `"labels":{"app":"web"},"annotations":{"filler":"`+strings.Repeat("x", 2000)+`"}`)
	}
	return s
}

// What must be stopped, with the limit that stops it; "sql": it isn't allowed at all; "": it must just not take long.
var hostileSQL = []struct{ name, limit, text string }{
	{"endless recursion", "time", "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT max(n) FROM r"},
	{"endless recursion that keeps all", "memory,time", "WITH RECURSIVE r(n) AS (SELECT 1 UNION SELECT n+1 FROM r) SELECT max(n) FROM r"},
	{"cross join without end", "time", "SELECT count(*) FROM pods a, pods b, pods c, pods d"},
	{"join of large columns", "time", "SELECT count(*) FROM pods a, pods b, pods c WHERE a.object || b.object > c.object"},
	{"slow where", "time", "SELECT count(*) FROM pods a, pods b WHERE hex(a.object) || hex(b.object) LIKE '%a%b%c%'  AND a.name || b.name = json_extract(a.object, '$.x')"},
	{"endless result", "rows", "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT n FROM r"},
	{"large result", "bytes", "SELECT a.object, b.object FROM pods a, pods b LIMIT 9000"},
	{"large values", "bytes", "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT zeroblob(100000) FROM r"},
	{"zeroblob", "bytes", "SELECT zeroblob(1000000000)"},
	{"randomblob", "bytes", "SELECT length(randomblob(1000000000))"},
	{"hex", "bytes", "SELECT length(hex(hex(hex(zeroblob(2000000)))))"},
	{"printf", "bytes", "SELECT printf('%.*c', 1000000000, 'x')"},
	{"printf by width", "bytes", "SELECT printf('%1000000000d', 1)"},
	{"replace", "bytes", "SELECT length(replace(hex(zeroblob(1000000)), '0', hex(zeroblob(1000))))"},
	{"group_concat", "bytes,time", "SELECT length(group_concat(a.object)) FROM pods a, pods b, pods c"},
	{"json_group_array", "bytes,memory,time", "SELECT length(json_group_array(a.object)) FROM pods a, pods b, pods c"},
	{"string doubled", "bytes,memory", "WITH RECURSIVE r(s) AS (SELECT 'xx' UNION ALL SELECT s || s FROM r) SELECT length(s) FROM r"},
	{"json doubled", "bytes,memory,time", "WITH RECURSIVE r(s) AS (SELECT '[1]' UNION ALL SELECT json_array(json(s), json(s)) FROM r) SELECT length(s) FROM r"},
	{"json path", "bytes,memory,sql", "SELECT json_set('{}', printf('$.a%.*c', 9000000, 'a'), 1)"},
	{"large sort", "memory,bytes,time", "SELECT a.object FROM pods a, pods b, pods c ORDER BY hex(a.object) || random()"},
	{"large group", "memory,time", "SELECT count(*) FROM (SELECT a.name || b.name || c.name x FROM pods a, pods b, pods c GROUP BY x)"},
	{"large distinct", "memory,time", "SELECT count(DISTINCT a.name || b.name || c.name) FROM pods a, pods b, pods c"},
	{"large window", "memory,time", "SELECT sum(n) FROM (SELECT row_number() OVER (ORDER BY a.annotations, b.annotations) n FROM pods a, pods b)"},
	{"large materialised", "memory,time", "WITH x AS MATERIALIZED (SELECT a.annotations q, b.annotations r FROM pods a, pods b) SELECT count(*) FROM x a, x b"},
	{"slow LIKE", "time,sql", "SELECT count(*) FROM pods a, pods b WHERE hex(a.annotations) || hex(b.annotations) LIKE '%5%5%5%5%5%5%5%5%5%5%5%5%5%5Z'"},
	{"long LIKE", "sql", "SELECT 'x' LIKE printf('%.*c', 100000, 'a')"},
	{"slow instr", "", "SELECT instr(printf('%.*c', 8000000, 'a'), printf('%.*c', 4000000, 'a') || 'b')"},
	{"slow replace", "", "SELECT length(replace(printf('%.*c', 8000000, 'a'), printf('%.*c', 4000000, 'a') || 'b', 'x'))"},
	{"slow trim", "", "SELECT length(trim(printf('%.*c', 1000000, 'a'), printf('%.*c', 1000000, 'b') || 'a'))"},
	{"deep expression", "sql", "SELECT " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000)},
	{"deep negation", "sql", "SELECT " + strings.Repeat("NOT ", 5000) + "1"},
	{"deep json", "sql", "SELECT json('" + strings.Repeat("[", 3000) + strings.Repeat("]", 3000) + "')"},
	{"deep subquery", "sql", strings.Repeat("SELECT * FROM (", 1000) + "SELECT 1" + strings.Repeat(")", 1000)},
	{"many columns", "sql", "SELECT " + strings.Repeat("1,", 5000) + "1"},
	{"many unions", "sql", strings.Repeat("SELECT 1 UNION ALL ", 5000) + "SELECT 1"},
	{"many joins", "sql", "SELECT 1 FROM pods p0" + strings.Repeat(" JOIN pods", 100)},
	{"long text", "sql", "SELECT '" + strings.Repeat("x", 1<<20) + "'"},
	{"attach", "sql", "ATTACH 'FILE' AS x"},
	{"detach", "sql", "DETACH main"},
	{"vacuum", "sql", "VACUUM"},
	{"vacuum into", "sql", "VACUUM INTO 'FILE'"},
	{"pragma", "sql", "PRAGMA journal_mode=off"},
	{"pragma function", "sql", "SELECT * FROM pragma_database_list"},
	{"schema table", "sql", "SELECT * FROM sqlite_schema"},
	{"schema table written", "sql", "INSERT INTO sqlite_schema VALUES (1,2,3,4,5)"},
	{"load_extension", "sql", "SELECT load_extension('x')"},
	{"readfile", "sql", "SELECT readfile('/etc/passwd')"},
	{"writefile", "sql", "SELECT writefile('FILE', 'x')"},
	{"edit", "sql", "SELECT edit('x')"},
	{"fts tokenizer", "sql", "SELECT fts3_tokenizer('x')"},
	{"create", "sql", "CREATE TABLE x(y)"},
	{"create temp", "sql", "CREATE TEMP TABLE x AS SELECT 1"},
	{"create view", "sql", "CREATE VIEW x AS SELECT 1"},
	{"create trigger", "sql", "CREATE TEMP TRIGGER x AFTER INSERT ON pods BEGIN SELECT 1; END"},
	{"virtual table", "sql", "CREATE VIRTUAL TABLE x USING pods"},
	{"drop", "sql", "DROP TABLE pods"},
	{"alter", "sql", "ALTER TABLE pods ADD x"},
	{"begin", "sql", "BEGIN EXCLUSIVE"},
	{"savepoint", "sql", "SAVEPOINT x"},
	{"analyze", "sql", "ANALYZE"},
	{"reindex", "sql", "REINDEX"},
	{"explained pragma", "sql", "EXPLAIN PRAGMA user_version"},
	{"several", "sql", "SELECT 1; SELECT 2"},
	{"several hidden", "sql", "SELECT 1 /* ; */; -- \n DELETE FROM pods"},
	{"a write", "sql", "DELETE FROM pods"},
	{"a write in WITH", "sql", "WITH x AS (SELECT 1) DELETE FROM pods"},
	{"an explained write", "sql", "EXPLAIN DELETE FROM pods"},
	{"nothing", "sql", " -- nothing\n ; "},
	{"a quote", "sql", "SELECT 'x"},
	{"a null byte", "sql", "SELECT name\x00 FROM pods"},
	{"garbage", "sql", "\xff\xfe SELECT"},
}

// kindOfError says how an error stands in the table above.
func kindOfError(err error) string {
	var limit *LimitError
	var sql *SQLError
	switch {
	case errors.As(err, &limit):
		return limit.Limit
	case errors.As(err, &sql):
		return "sql"
	}
	return fmt.Sprint(err)
}

func TestHostileStatements(t *testing.T) {
	s := crowd(t)
	dir := t.TempDir()
	for _, h := range hostileSQL {
		t.Run(h.name, func(t *testing.T) {
			begin := time.Now()
			rows, err := s.Query(t.Context(), strings.ReplaceAll(h.text, "FILE", filepath.Join(dir, "out")), nil, Limits{Time: 300 * time.Millisecond})
			if err == nil && h.limit != "" {
				t.Fatalf("%d rows: %.200v", len(rows.Values), rows.Values)
			}
			if h.limit != "" && !strings.Contains(","+h.limit+",", ","+kindOfError(err)+",") {
				t.Errorf("%s: %v, want %s", kindOfError(err), err, h.limit)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("it was stopped after %v only", took)
			}
			if _, err := s.Query(t.Context(), "SELECT count(*) FROM pods", nil, Limits{}); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("a file was made: %v", left)
	}
}

func TestHostileStatementsLeaveNoMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	s := crowd(t)
	round := func() {
		for _, h := range hostileSQL {
			_, _ = s.Query(t.Context(), h.text, nil, Limits{Time: 20 * time.Millisecond, Memory: 20 << 20})
		}
	}
	round()
	before := memory(t)
	for range 3 {
		round()
	}
	after := memory(t)
	t.Logf("before %+v, after %+v", before, after)
	if grown := int64(after.heap) - int64(before.heap); grown > 8<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	if grown := after.resident - before.resident; grown > 64<<20 {
		t.Errorf("the process has grown by %d bytes", grown)
	}
	if grown := after.mapped - before.mapped; grown > 128<<20 {
		t.Errorf("the address space has grown by %d bytes: connections were not unmapped", grown)
	}
}

type usage struct {
	heap             uint64
	mapped, resident int64
}

func memory(t testing.TB) usage {
	t.Helper()
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := usage{heap: m.HeapAlloc}
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return u
	}
	if _, err := fmt.Sscan(string(b), &u.mapped, &u.resident); err != nil {
		t.Fatal(err)
	}
	page := int64(os.Getpagesize())
	u.mapped, u.resident = u.mapped*page, u.resident*page
	return u
}

func TestTheLimitsAreThoseAsked(t *testing.T) {
	s := crowd(t)
	endless := "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) "
	for _, tt := range []struct {
		text   string
		limits Limits
		want   string
	}{
		{"SELECT name FROM pods", Limits{Rows: 1000}, ""},
		{"SELECT name FROM pods", Limits{Rows: 999}, "rows"},
		{"SELECT annotations FROM pods", Limits{Bytes: 1 << 20}, "bytes"},
		{"SELECT annotations FROM pods", Limits{Bytes: 4 << 20}, ""},
		{endless + "SELECT max(n) FROM r", Limits{Time: time.Millisecond}, "time"},
		{"SELECT count(*) FROM (SELECT DISTINCT printf('%50s%50s', a.name, b.name) FROM pods a, pods b LIMIT 100000)", Limits{Memory: 4 << 20, Time: time.Minute}, "memory"},
		{"SELECT count(*) FROM (SELECT DISTINCT printf('%50s%50s', a.name, b.name) FROM pods a, pods b LIMIT 200000)", Limits{Time: time.Minute}, ""},
	} {
		_, err := s.Query(t.Context(), tt.text, nil, tt.limits)
		if got := kindOfError(err); tt.want != "" && got != tt.want || tt.want == "" && err != nil {
			t.Errorf("%s with %+v: %v, want %q", tt.text, tt.limits, err, tt.want)
		}
	}
}

func TestAContextEndsAStatement(t *testing.T) {
	s := crowd(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err := s.Query(ctx, "SELECT count(*) FROM pods a, pods b, pods c, pods d", nil, Limits{Time: time.Minute})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestWhoWaitsForAConnectionMayGiveUp(t *testing.T) {
	s := crowd(t)
	query(t, s, "SELECT 1", nil)
	var busy sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range max(4, runtime.GOMAXPROCS(0)) {
		busy.Go(func() {
			_, _ = s.Query(ctx, "SELECT count(*) FROM pods a, pods b, pods c, pods d", nil, Limits{Time: time.Minute})
		})
	}
	for len(s.sql.slots) < cap(s.sql.slots) {
		runtime.Gosched()
	}
	short, stop := context.WithTimeout(ctx, 10*time.Millisecond)
	defer stop()
	if _, err := s.Query(short, "SELECT 1", nil, Limits{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	// A writer waits for no reader.
	put(t, s, key(pods, "new", "new"), "new", "1")
	cancel()
	busy.Wait()
}
