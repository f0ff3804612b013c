package specs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// The bounds of a folder. They are far above what an operator needs: they catch a wrong path, such as a home folder.
const (
	maxFolder      = 64 << 20 // bytes, all files together
	maxFiles       = 10_000
	maxDescription = 1 << 20 // bytes of operator.yaml and of a CRD
	maxFolderDepth = 32
)

// folder is a snapshot of an operator's folder, read once, so that what was checked is what runs.
type folder struct {
	dir string // as the caller wrote it
	// files are all regular files by slash path.
	files map[string]content
	// charts are the folders that hold a Chart.yaml.
	charts map[string]bool
	digest string
	found  Findings
}

// content is a file's text, without a byte order mark; a file that isn't UTF-8 or holds NUL has none.
type content struct {
	text   string
	isText bool
}

// readFolder reads dir. Mistakes are in found; the folder is usable all the same.
func readFolder(dir string) *folder {
	f := &folder{dir: dir, files: map[string]content{}, charts: map[string]bool{}}
	// Through os.Root no path can leave the folder, whatever links it goes over and whoever changes them meanwhile.
	root, err := os.OpenRoot(dir)
	if err != nil {
		f.add(".", "", "can't be opened: %v", cause(err))
		return f
	}
	defer root.Close()
	w := walker{folder: f, root: root, sums: map[string][]byte{}}
	w.walk(".", nil)
	f.digest = w.digest()
	return f
}

func (f *folder) add(file, hint, format string, args ...any) {
	f.found = append(f.found, Finding{File: f.path(file), Message: fmt.Sprintf(format, args...), Hint: hint})
}

// path is a file's path as the caller would write it.
func (f *folder) path(file string) string { return filepath.Join(f.dir, filepath.FromSlash(file)) }

// inChart is the chart that a file belongs to, or "".
func (f *folder) inChart(file string) string {
	for d := path.Dir(file); d != "."; d = path.Dir(d) {
		if f.charts[d] {
			return d
		}
	}
	return ""
}

// texts are the files that templates and commands may read: all text outside of charts.
func (f *folder) texts() map[string]string {
	out := map[string]string{}
	for name, c := range f.files {
		if c.isText && f.inChart(name) == "" {
			out[name] = c.text
		}
	}
	return out
}

// walker reads a folder's files.
type walker struct {
	*folder
	root *os.Root
	size int64
	sums map[string][]byte // content hashes by path
	full bool
}

func (w *walker) walk(dir string, above []fs.FileInfo) {
	if len(above) > maxFolderDepth {
		w.add(dir, "", "folders nest more than %d deep", maxFolderDepth)
		return
	}
	d, err := w.root.Open(dir)
	if err != nil {
		w.add(dir, "", "can't be read: %v", cause(err))
		return
	}
	defer d.Close()
	info, err := d.Stat()
	if err != nil {
		w.add(dir, "", "can't be read: %v", cause(err))
		return
	}
	for _, a := range above {
		if os.SameFile(a, info) {
			w.add(dir, "", "a symbolic link that leads back to a folder above it")
			return
		}
	}
	entries, err := d.ReadDir(-1)
	if err != nil {
		w.add(dir, "", "can't be read: %v", cause(err))
		return
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		if !ignored(e.Name()) && !w.full {
			w.entry(path.Join(dir, e.Name()), e, append(above, info))
		}
	}
}

func (w *walker) entry(name string, e fs.DirEntry, above []fs.FileInfo) {
	info, err := w.root.Stat(name)
	switch {
	case err == nil:
	case e.Type()&fs.ModeSymlink == 0:
		w.add(name, "", "can't be read: %v", cause(err))
		return
	case errors.Is(err, fs.ErrNotExist):
		w.add(name, "", "a symbolic link that leads nowhere")
		return
	default:
		w.add(name, "copy the file into the folder", "a symbolic link that leads out of the operator's folder")
		return
	}
	switch {
	case info.IsDir():
		w.walk(name, above)
	case info.Mode().IsRegular():
		w.file(name)
	default: // opening a pipe would wait for ever
		w.add(name, "", "neither a file nor a folder")
	}
}

func (w *walker) file(name string) {
	if len(w.sums) >= maxFiles {
		w.full = true
		w.add(".", "is this the operator's folder?", "holds more than %d files", maxFiles)
		return
	}
	file, err := w.root.Open(name)
	if err != nil {
		w.add(name, "", "can't be read: %v", cause(err))
		return
	}
	defer file.Close()
	left := maxFolder - w.size
	b, err := io.ReadAll(io.LimitReader(file, left+1))
	if err != nil {
		w.add(name, "", "can't be read: %v", cause(err))
		return
	}
	if int64(len(b)) > left {
		w.full = true
		w.add(".", "is this the operator's folder?", "holds more than %d MiB", maxFolder>>20)
		return
	}
	w.size += int64(len(b))
	sum := sha256.Sum256(b)
	w.sums[name] = sum[:]
	text := strings.TrimPrefix(string(b), "\ufeff")
	switch {
	case utf8.ValidString(text) && !strings.ContainsRune(text, 0):
		w.files[name] = content{text, true}
	case isYAML(name):
		w.add(name, "", "no text: not valid UTF-8, or with NUL characters in it")
		fallthrough
	default:
		w.files[name] = content{}
	}
	if path.Base(name) == "Chart.yaml" && path.Dir(name) != "." {
		w.charts[path.Dir(name)] = true
	}
}

func isYAML(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

// digest is a SHA-256 over all paths and contents. Each path ends with NUL, which none contains, and each content's
// hash has a fixed length, so that two folders with the same digest have the same files.
func (w *walker) digest() string {
	names := make([]string, 0, len(w.sums))
	for name := range w.sums {
		names = append(names, name)
	}
	slices.Sort(names)
	h := sha256.New()
	for _, name := range names {
		h.Write([]byte(name + "\x00"))
		h.Write(w.sums[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ignored are what editors, Git and Kubernetes leave beside the files: a volume made of a ConfigMap holds them in
// folders named "..", with links to them, and the links are read.
func ignored(name string) bool {
	return name == ".git" || strings.HasPrefix(name, "..") || strings.HasSuffix(name, "~") ||
		strings.HasPrefix(name, ".#") || strings.HasPrefix(name, "#") && strings.HasSuffix(name, "#") ||
		strings.HasPrefix(name, ".") && (strings.HasSuffix(name, ".swp") || strings.HasSuffix(name, ".swo") || strings.HasSuffix(name, ".swx"))
}

// cause is an error without the path, which the finding has already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
