// Package statedir owns the layout of the folder that `devstack up --dir` is
// given: where each thing lies, who may use it at a time, which ports it keeps,
// and the one `env` file that people source.
//
// The two halves of the stack, Temporal and Kubernetes, may run as one process
// or as two. Each has its own subfolder, written by its process alone; the few
// things both write (`env`, the choice of ports) are done under one short lock.
// So nothing has to be merged, and neither half can clobber the other's share.
package statedir

import (
	"fmt"
	"os"
	"path/filepath"
)

// Half is one of the two things that can be started by itself.
type Half string

// The two halves. Their values are the names of their subfolders and of the
// values that `--only` takes.
const (
	Temporal   Half = "temporal"
	Kubernetes Half = "kubernetes"
)

// Halves are both halves, in the order in which `env` lists them.
var Halves = []Half{Kubernetes, Temporal}

// Dir is an opened folder. Its paths are absolute, because they end up in files
// that are read from anywhere.
type Dir struct {
	root string
}

// Open makes the folder, with its subfolders, where it does not exist yet. Only
// its owner may enter: it holds private keys and the admin's certificate.
func Open(path string) (Dir, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return Dir{}, fmt.Errorf("make %q absolute: %w", path, err)
	}
	for _, sub := range []string{"", "logs", string(Kubernetes), string(Temporal)} {
		if err := os.MkdirAll(filepath.Join(root, sub), 0o700); err != nil {
			return Dir{}, fmt.Errorf("make the state folder: %w", err)
		}
	}
	return Dir{root: root}, nil
}

// Path is an absolute path inside the folder.
func (d Dir) Path(elem ...string) string {
	return filepath.Join(append([]string{d.root}, elem...)...)
}

// Half is an absolute path inside the subfolder of one half.
func (d Dir) Half(h Half, elem ...string) string {
	return d.Path(append([]string{string(h)}, elem...)...)
}

// Log is the log file of a component.
func (d Dir) Log(component string) string {
	return d.Path("logs", component+".log")
}

// Replace writes a file so that a reader, or a process that is killed in the
// middle, sees either the old content or the new one.
func Replace(path string, content []byte, mode os.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(tmp.Name()) // a no-op once renamed
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
