package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// completionTimeout bounds how long a person who pressed TAB waits for the API server.
const completionTimeout = 3 * time.Second

// tablePlace finds the beginning of a table's name at the end of a statement: behind FROM and JOIN, and behind a comma
// that follows them.
var tablePlace = regexp.MustCompile(`(?is)\b(?:from|join)\s+(?:(?:[\w.-]+|"[^"]*"|\[[^\]]*\])(?:\s+(?:as\s+)?\w+)?\s*,\s*)*(["\[]?[\w.-]*)$`)

// completeStatement completes the table's name at the end of a statement. What it returns are whole statements, because
// to the shell the statement is one word.
func completeStatement(ctx context.Context, connect func() (*cluster, error), text string) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	at := tablePlace.FindStringSubmatchIndex(text)
	if at == nil {
		return nil, directive
	}
	before, word := text[:at[2]], text[at[2]:]
	var found []string
	for _, name := range tableNames(ctx, connect, word) {
		found = append(found, before+name)
	}
	return found, directive
}

// tableNames are the tables' names that begin with a word, in SQL. The word's quote, if there is one, is kept. Else what
// needs quotes gets brackets, which no shell minds between quotes of its own.
func tableNames(ctx context.Context, connect func() (*cluster, error), word string) []string {
	known := tablesForCompletion(ctx, connect)
	quote, closing := "", ""
	switch {
	case strings.HasPrefix(word, `"`):
		quote, closing = `"`, `"`
	case strings.HasPrefix(word, "["):
		quote, closing = "[", "]"
	}
	word = strings.ToLower(strings.TrimPrefix(word, quote))
	found := []string{}
	add := func(name string) {
		if !strings.HasPrefix(name, word) {
			return
		}
		open, end := quote, closing
		if quote == "" && strings.ContainsAny(name, ".-") {
			open, end = "[", "]"
		}
		found = append(found, open+name+end)
	}
	add(tableResources)
	for _, r := range known.resources {
		short := known.short(r)
		if short != "" {
			add(short)
		}
		// The full name where it is needed, or asked for.
		if short == "" || short != r.Table() && (quote != "" || strings.Contains(word, ".")) {
			add(r.Table())
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// tablesForCompletion are the API server's tables; those that every cluster has, if it doesn't answer.
func tablesForCompletion(ctx context.Context, connect func() (*cluster, error)) *catalog {
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	if c, err := connect(); err == nil {
		if known, err := discoverTables(ctx, c); err == nil {
			return known
		}
	}
	return &catalog{resources: virtual.BuiltIn()}
}

// bashStatements lets bash complete within a quote that is still open. Cobra's script evaluates the words as they stand,
// which an open quote makes impossible.
const bashStatements = `
# Completes the statement of mainstay query within its open quote.
__mainstay_statement()
{
    local statement=${COMP_WORDS[COMP_CWORD]} line
    if [[ ${COMP_WORDS[1]} != query || $statement != [\"\']* ]]; then
        __start_mainstay "$@"
        return
    fi
    COMPREPLY=()
    [[ $(type -t compopt) == builtin ]] && compopt -o nospace +o default
    while IFS= read -r line; do
        [[ $line == :* ]] || COMPREPLY+=("$line")
    done < <("$1" __completeNoDesc query "${statement:1}" 2>/dev/null)
}
complete -o default -F __mainstay_statement mainstay
`

// completeStatements runs after each verb and adds to the script of mainstay completion bash.
func completeStatements(cmd *cobra.Command, _ []string) error {
	if cmd.CommandPath() != cmd.Root().Name()+" completion bash" {
		return nil
	}
	_, err := fmt.Fprint(cmd.OutOrStdout(), bashStatements)
	return err
}
