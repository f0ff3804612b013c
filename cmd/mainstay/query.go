package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/specs/sense"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// The tables that are no kind's.
const (
	tableResources = "resources"
	tableEvents    = "events"
)

// What a statement may use here. It runs alone, for a person who waits for it.
const (
	queryBytes  = 64 << 20
	queryMemory = 256 << 20
)

// queryOptions are the flags of the verb query.
type queryOptions struct {
	namespace                   string
	all, secrets, watch, tables bool
	format                      string
	wide                        bool
	params                      []string
	timeout                     time.Duration
	limit                       int
}

func queryVerb(connect func() (*cluster, error)) *cobra.Command {
	var o queryOptions
	c := &cobra.Command{
		Use:   `query "SELECT …"`,
		Short: "Ask the cluster by SQL",
		Long: `Ask the cluster by SQL. Only the kinds that the statement names are listed; neither Temporal nor a running Mainstay is
needed. A statement that is - is read from the standard input.

Each kind is a table: services, ingresses.networking.k8s.io (in SQL a name with dots is written in quotes or [brackets]),
or just ingresses where that is unambiguous. The table resources has the objects of all kinds. The columns are
api_version, kind, namespace, name, uid, resource_version, created_at, deleted_at, instance, ready, labels, annotations,
owners, spec, status, data, object; -> and ->> reach into the JSON ones.`,
		Example: `  mainstay query "SELECT namespace, name, spec->>'replicas' AS replicas FROM deployments WHERE NOT ready"
  mainstay query -o json --param app=web "SELECT name, labels FROM pods WHERE labels->>'app' = :app"
  mainstay query --watch -n shop "SELECT name, status->>'phase' AS phase FROM pods"`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case o.tables && len(args) > 0:
				return errors.New("--tables takes no statement")
			case !o.tables && len(args) != 1:
				return fmt.Errorf("one statement is expected, in quotes, and there are %d arguments", len(args))
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return completeStatement(cmd.Context(), connect, text)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			// What client-go has to say is said by this verb where it matters.
			klog.SetSlogLogger(slog.New(slog.DiscardHandler))
			q, err := newQuery(cmd, o, args)
			if err != nil {
				return err
			}
			if q.cluster, err = connect(); err != nil {
				return err
			}
			return q.run(cmd.Context())
		},
	}
	f := c.Flags()
	f.StringVarP(&o.namespace, "namespace", "n", "", "list this `namespace` only, which is also the parameter :namespace")
	f.BoolVarP(&o.all, "all-namespaces", "A", false, "list all namespaces (the default)")
	f.StringVarP(&o.format, "output", "o", "table", "`format`: "+strings.Join(formats, ", "))
	f.BoolVar(&o.wide, "wide", false, "don't cut a table's cells to the terminal")
	f.StringArrayVar(&o.params, "param", nil, "`name=value` for :name; what is JSON, such as 3 or true, is bound as that, \"3\" in quotes as text (repeatable)")
	f.BoolVarP(&o.watch, "watch", "w", false, "go on, and print the result whenever it is another one")
	f.BoolVar(&o.secrets, "show-secrets", false, "show what Secrets hold, not digests of it")
	f.BoolVar(&o.tables, "tables", false, "print the tables instead")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long listing and the statement may take; with --watch, each of them anew")
	f.IntVar(&o.limit, "limit", 10000, "how many `rows` a result may have")
	c.MarkFlagsMutuallyExclusive("namespace", "all-namespaces")
	c.MarkFlagsMutuallyExclusive("tables", "watch")
	if err := c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag is defined above
	}
	return c
}

// query is one run of the verb.
type query struct {
	queryOptions
	text    string
	params  map[string]any
	cluster *cluster
	printer *printer
	errors  io.Writer
}

func newQuery(cmd *cobra.Command, o queryOptions, args []string) (*query, error) {
	q := &query{queryOptions: o, errors: cmd.ErrOrStderr()}
	if o.timeout <= 0 || o.limit <= 0 {
		return nil, errors.New("--timeout and --limit must be more than nothing")
	}
	var err error
	if q.printer, err = newPrinter(cmd.OutOrStdout(), o); err != nil {
		return nil, err
	}
	if q.params, err = parseParams(o.params); err != nil {
		return nil, err
	}
	if o.namespace != "" {
		q.params["namespace"] = o.namespace
	}
	if len(args) == 1 {
		q.text = args[0]
	}
	if q.text == "-" {
		text, err := io.ReadAll(cmd.InOrStdin())
		if err != nil {
			return nil, fmt.Errorf("read the statement: %w", err)
		}
		q.text = string(text)
	}
	return q, nil
}

// parseParams reads name=value. A value that is JSON is bound as that, because SQL tells 3 from '3'.
func parseParams(texts []string) (map[string]any, error) {
	params := map[string]any{}
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		if name = strings.TrimLeft(name, ":@$"); !ok || name == "" {
			return nil, fmt.Errorf("--param %q is no name=value", text)
		}
		params[name] = value
		d := json.NewDecoder(strings.NewReader(value))
		d.UseNumber()
		var decoded any
		if d.Decode(&decoded) == nil && ended(d) {
			params[name] = decoded
		}
	}
	return params, nil
}

// run asks once, or until ctx ends.
func (q *query) run(ctx context.Context) error {
	err := q.ask(ctx)
	if q.watch && ctx.Err() != nil {
		return nil
	}
	return q.explain(err)
}

func (q *query) ask(ctx context.Context) error {
	begin, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	known, err := discoverTables(begin, q.cluster)
	if err != nil {
		return err
	}
	if q.tables {
		return q.printer.print(known.rows())
	}
	info, err := q.check(known)
	if err != nil {
		return err
	}
	store, err := virtual.Open(virtual.Options{
		InstanceLabel: plan.InstanceLabel,
		// What the statement doesn't ask for needs no index, and nil would be the default.
		IndexedLabels: append([]string{}, info.Labels...),
		Ready:         func(o virtual.Object) (ready, known bool) { return sense.Health(o) == plan.Ready, true },
		Events:        -1,
	})
	if err != nil {
		return err
	}
	defer store.Close()
	f := newFeed(q, known, store, asksForInstance(q.text, info))
	if err := f.fill(begin, q.sources(known, info)); err != nil {
		return err
	}
	if q.watch {
		return q.live(ctx, f)
	}
	rows, err := store.Query(begin, q.text, q.params, q.limits())
	if err != nil {
		return err
	}
	return q.printer.print(rows)
}

// check finds what is wrong with the statement before anything is listed.
func (q *query) check(known *catalog) (virtual.Info, error) {
	info, err := virtual.Check(q.text, known.resolve, false)
	if err != nil {
		return info, err
	}
	if slices.Contains(info.Reads, tableEvents) {
		return info, errors.New("the table events is that of a running mainstay: the lifecycle events that it saw last; the Events of the cluster are the table [events.core]")
	}
	for _, name := range info.Params {
		if _, ok := q.params[name]; !ok {
			how := "--param " + name + "=…"
			if name == "namespace" {
				how += " or -n"
			}
			return info, fmt.Errorf("parameter :%s has no value; give it one by %s", name, how)
		}
	}
	return info, nil
}

// sources are what is to be listed for a statement.
func (q *query) sources(known *catalog, info virtual.Info) []*source {
	var found []*source
	for _, t := range known.tables {
		if slices.Contains(info.Reads, t.Table()) {
			found = append(found, &source{table: t})
		}
	}
	if !slices.Contains(info.Reads, tableResources) {
		return found
	}
	for _, t := range known.tables {
		// The same objects as those of events.core, and nobody wants them twice.
		twin := t.Group == "events.k8s.io" && t.Kind.Kind == "Event"
		if !twin && !slices.Contains(info.Reads, t.Table()) {
			found = append(found, &source{table: t, optional: true})
		}
	}
	q.note("listing all %d kinds, because the statement reads the table resources", len(found))
	return found
}

func (q *query) limits() virtual.Limits {
	return virtual.Limits{Time: q.timeout, Rows: q.limit, Bytes: queryBytes, Memory: queryMemory}
}

// note tells a person what isn't part of the result.
func (q *query) note(format string, args ...any) {
	fmt.Fprintf(q.errors, "mainstay: "+format+"\n", args...)
}

var instanceWord = regexp.MustCompile(`(?i)\binstance\b`)

// asksForInstance tells whether a statement depends on the column instance. A * has it among the result's columns.
func asksForInstance(text string, info virtual.Info) bool {
	return slices.Contains(info.Columns, "instance") || instanceWord.MatchString(text)
}

// ended tells whether nothing follows the value that was decoded.
func ended(d *json.Decoder) bool {
	_, err := d.Token()
	return errors.Is(err, io.EOF)
}
