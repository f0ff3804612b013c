package statedir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Var is one line of the env file.
type Var struct {
	Name, Value string
}

// WriteEnv writes the variables of one half and then `env`, which is the parts
// of both halves one after the other. A half that is not running keeps its part:
// its ports stay reserved for it, and it will come back on them.
func (d Dir) WriteEnv(h Half, vars []Var) error {
	return d.shared(func() error {
		if err := Replace(d.Half(h, "env"), formatEnv(vars), 0o600); err != nil {
			return err
		}
		var all bytes.Buffer
		for _, half := range Halves {
			part, err := os.ReadFile(d.Half(half, "env"))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("read the env of %s: %w", half, err)
			}
			all.Write(part)
		}
		return Replace(d.Path("env"), all.Bytes(), 0o600)
	})
}

func formatEnv(vars []Var) []byte {
	var b bytes.Buffer
	for _, v := range vars {
		fmt.Fprintf(&b, "export %s=%s\n", v.Name, Quote(v.Value))
	}
	return b.Bytes()
}

// Quote makes one word of a POSIX shell out of s, without quotation marks where
// none are needed.
func Quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:@%+,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
