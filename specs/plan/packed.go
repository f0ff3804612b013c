package plan

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// packAbove is how many changes are written as a list that people can read. More are packed, a fifth as large: one rule
// over 20,000 objects must fit into Temporal's 2 MiB for a payload.
const packAbove = 100

// unpackLimit bounds what a packed text may become.
const unpackLimit = 64 << 20

// Changes are changes that know how to be written small: as a list if they are few, else as one string, which holds a
// line for each, deflated and in base64.
type Changes []Change

// MarshalJSON implements json.Marshaler.
func (c Changes) MarshalJSON() ([]byte, error) {
	if len(c) <= packAbove {
		return json.Marshal([]Change(c))
	}
	lines := make([]string, len(c))
	for i, x := range c {
		deleting := ""
		if x.Deleting {
			deleting = "1"
		}
		lines[i] = strings.Join([]string{
			x.Rule, x.Namespace, x.Name, x.UID, x.Hash, x.ResourceVersion, string(x.Health), deleting, oneLine.Replace(x.Trouble), x.Was,
		}, "\t")
	}
	return pack(lines)
}

// oneLine keeps a sentence from breaking a packed line.
var oneLine = strings.NewReplacer("\t", " ", "\n", " ")

// UnmarshalJSON implements json.Unmarshaler.
func (c *Changes) UnmarshalJSON(b []byte) error {
	if !bytes.HasPrefix(b, []byte{'"'}) {
		return json.Unmarshal(b, (*[]Change)(c))
	}
	*c = nil
	return unpack(b, 10, func(f []string) {
		*c = append(*c, Change{
			Rule: f[0], Namespace: f[1], Name: f[2], UID: f[3], Hash: f[4], ResourceVersion: f[5], Health: Health(f[6]),
			Deleting: f[7] != "", Trouble: f[8], Was: f[9],
		})
	})
}

// MarshalJSON implements json.Marshaler.
func (m Memory) MarshalJSON() ([]byte, error) {
	n := 0
	for _, objects := range m {
		n += len(objects)
	}
	if n <= packAbove {
		return json.Marshal(map[string]map[string]Seen(m))
	}
	lines := make([]string, 0, n)
	for rule, objects := range m {
		for key, s := range objects {
			flags := ""
			if s.Deleting {
				flags += "d"
			}
			if s.Held {
				flags += "h"
			}
			lines = append(lines, strings.Join([]string{rule, key, s.UID, s.Hash, string(s.Health), flags, s.ResourceVersion}, "\t"))
		}
	}
	slices.Sort(lines) // the same memory is the same text
	return pack(lines)
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *Memory) UnmarshalJSON(b []byte) error {
	if !bytes.HasPrefix(b, []byte{'"'}) {
		return json.Unmarshal(b, (*map[string]map[string]Seen)(m))
	}
	*m = Memory{}
	return unpack(b, 7, func(f []string) {
		if (*m)[f[0]] == nil {
			(*m)[f[0]] = map[string]Seen{}
		}
		(*m)[f[0]][f[1]] = Seen{UID: f[2], Hash: f[3], Health: Health(f[4]), ResourceVersion: f[6],
			Deleting: strings.Contains(f[5], "d"), Held: strings.Contains(f[5], "h")}
	})
}

func pack(lines []string) ([]byte, error) {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestSpeed+4)
	if err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	for _, line := range lines {
		if _, err := io.WriteString(w, line+"\n"); err != nil {
			return nil, fmt.Errorf("pack: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	return json.Marshal(base64.StdEncoding.EncodeToString(out.Bytes()))
}

// unpack calls line with the fields of each packed line.
func unpack(b []byte, fields int, line func([]string)) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	lines, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), unpackLimit))
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	for l := range strings.Lines(string(lines)) {
		f := strings.Split(strings.TrimSuffix(l, "\n"), "\t")
		if len(f) != fields {
			return errors.New("unpack: a line has the wrong number of fields")
		}
		line(f)
	}
	return nil
}
