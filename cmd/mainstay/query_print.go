package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/term"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

var formats = []string{"table", "json", "yaml", "jsonl", "csv"}

// printer prints results.
type printer struct {
	out    *bufio.Writer
	format string
	// live: one result follows another.
	live bool
	// width is how wide a table may be; 0: as wide as it is.
	width func() int
	now   func() time.Time
	count int
}

func newPrinter(out io.Writer, o queryOptions) (*printer, error) {
	if !slices.Contains(formats, o.format) {
		return nil, fmt.Errorf("output format %q is not one of %s", o.format, strings.Join(formats, ", "))
	}
	if o.format == "csv" && o.watch {
		return nil, errors.New("csv can't say where one result ends and the next begins: with --watch use table, json, jsonl or yaml")
	}
	p := &printer{out: bufio.NewWriter(out), format: o.format, live: o.watch, width: func() int { return 0 }, now: time.Now}
	if file, ok := out.(*os.File); ok && !o.wide {
		p.width = func() int {
			// What is no terminal has no width.
			width, _, err := term.GetSize(int(file.Fd()))
			if err != nil {
				return 0
			}
			return width
		}
	}
	return p, nil
}

func (p *printer) print(rows *virtual.Rows) error {
	var err error
	switch p.format {
	case "table":
		p.table(rows)
	case "json", "jsonl":
		err = p.json(rows)
	case "yaml":
		err = p.yaml(rows)
	case "csv":
		err = p.csv(rows)
	}
	p.count++
	if err == nil {
		err = p.out.Flush()
	}
	if err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}

// json prints a list of rows; for jsonl a line a row, or of a live query a line a result.
func (p *printer) json(rows *virtual.Rows) error {
	names := uniqueNames(rows.Columns)
	list := [][]byte{}
	for _, values := range rows.Values {
		row, err := jsonRow(names, values)
		if err != nil {
			return err
		}
		list = append(list, row)
	}
	if p.format == "jsonl" && !p.live {
		for _, row := range list {
			fmt.Fprintf(p.out, "%s\n", row)
		}
		return nil
	}
	text := slices.Concat([]byte("["), bytes.Join(list, []byte(",")), []byte("]"))
	if p.format == "json" {
		var b bytes.Buffer
		if err := json.Indent(&b, text, "", "  "); err != nil {
			return err
		}
		text = b.Bytes()
	}
	_, err := p.out.Write(append(text, '\n'))
	return err
}

// jsonRow is a row as a JSON object, with the columns in their order.
func jsonRow(names []string, values []any) ([]byte, error) {
	b := []byte("{")
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := compactJSON(names[i])
		if err != nil {
			return nil, err
		}
		value, err := compactJSON(v)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}'), nil
}

func compactJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// uniqueNames are the columns' names, those that come again made different as SQLite does: name, name:1.
func uniqueNames(columns []string) []string {
	names := make([]string, 0, len(columns))
	for _, c := range columns {
		name := c
		for n := 1; slices.Contains(names, name); n++ {
			name = c + ":" + strconv.Itoa(n)
		}
		names = append(names, name)
	}
	return names
}

func (p *printer) yaml(rows *virtual.Rows) error {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	names := uniqueNames(rows.Columns)
	for _, values := range rows.Values {
		row := &yaml.Node{Kind: yaml.MappingNode}
		for i, v := range values {
			var name, value yaml.Node
			name.SetString(names[i])
			if err := value.Encode(v); err != nil {
				return err
			}
			row.Content = append(row.Content, &name, &value)
		}
		list.Content = append(list.Content, row)
	}
	if p.count > 0 {
		fmt.Fprintln(p.out, "---")
	}
	if len(list.Content) == 0 {
		list.Style = yaml.FlowStyle
	}
	encoder := yaml.NewEncoder(p.out)
	encoder.SetIndent(2)
	return errors.Join(encoder.Encode(list), encoder.Close())
}

func (p *printer) csv(rows *virtual.Rows) error {
	w := csv.NewWriter(p.out)
	if err := w.Write(rows.Columns); err != nil {
		return err
	}
	for _, values := range rows.Values {
		record := make([]string, len(values))
		for i, v := range values {
			if v != nil {
				record[i] = cell(v)
			}
		}
		if err := w.Write(record); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// cell is a value as text.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return "<none>"
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	}
	text, err := compactJSON(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}
