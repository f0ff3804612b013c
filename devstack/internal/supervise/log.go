package supervise

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// maxLog is the size at which a log file becomes its own predecessor (`.1`), so
// that a component takes at most twice this on disk however long it runs.
const maxLog = 8 << 20

// Log is a file that cannot grow forever.
type Log struct {
	path string
	max  int64

	mu   sync.Mutex
	file *os.File
	size int64
}

// OpenLog appends to the file at path, after a line that says when.
func OpenLog(path string) (*Log, error) {
	l := &Log{path: path, max: maxLog}
	if err := l.open(); err != nil {
		return nil, err
	}
	fmt.Fprintf(l, "--- started %s\n", time.Now().Format(time.RFC3339))
	return l, nil
}

func (l *Log) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open a log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return fmt.Errorf("open a log: %w", err)
	}
	l.file, l.size = f, info.Size()
	return nil
}

// Write never fails for want of a log: a component must not block or die of
// that. What cannot be written is lost.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil && l.size+int64(len(p)) > l.max && l.size > 0 {
		l.file.Close()
		l.file = nil
		_ = os.Rename(l.path, l.path+".1")
		_ = l.open()
	}
	if l.file == nil {
		return len(p), nil
	}
	n, _ := l.file.Write(p)
	l.size += int64(n)
	return len(p), nil
}

// Close closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

// tail is the last few lines of a log, indented, for a message.
func tail(path string) string {
	const lines, bytes = 15, 8 << 10
	f, err := os.Open(path)
	if err != nil {
		return "  (" + err.Error() + ")"
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > bytes {
		_, _ = f.Seek(-bytes, io.SeekEnd)
	}
	content, _ := io.ReadAll(f)
	all := strings.Split(strings.TrimSpace(string(content)), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return "  " + strings.Join(all, "\n  ")
}
