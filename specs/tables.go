package specs

import (
	"slices"
	"strings"

	"github.com/mainstay-dev/mainstay/specs/expr"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// tables are those that are known without a cluster: of the kinds that every cluster has, of the operator's own kind and
// of those that its rules watch, whose plural is guessed.
func (c *compiler) tables() []virtual.Resource {
	if c.known == nil {
		c.known = virtual.BuiltIn()
	}
	return c.known
}

// complete adds to the known tables what the description names. It comes when all of that has been read.
func (c *compiler) complete() {
	r := c.op.Plan.Resource
	own := virtual.Resource{Kind: virtual.Kind{Group: r.Group, Version: r.Version, Kind: r.Kind}, Plural: r.Plural, Namespaced: r.Namespaced}
	c.known = append(c.tables(), own)
	for _, kind := range c.watched {
		if kind.Kind != "" && !slices.ContainsFunc(c.known, func(r virtual.Resource) bool { return r.Group == kind.Group && r.Kind.Kind == kind.Kind }) {
			c.known = append(c.known, virtual.Resource{Kind: kind, Plural: plural(kind.Kind), Namespaced: true})
		}
	}
}

// table resolves a table's name. One with its group is taken on trust, because only the cluster knows its kinds; but
// not where it is all but a built-in one.
func (c *compiler) table(name string) (virtual.Resource, error) {
	r, err := virtual.FindResource(name, c.known)
	if err == nil {
		return r, nil
	}
	lower := strings.ToLower(name)
	plural, group, _ := strings.Cut(lower, ".")
	if !label.MatchString(plural) || !subdomain.MatchString(group) {
		return r, err
	}
	if slices.ContainsFunc(virtual.BuiltIn(), func(r virtual.Resource) bool { return misspelt(lower, r.Table()) }) {
		return r, err
	}
	return virtual.Resource{Kind: virtual.Kind{Group: group}, Plural: plural, Namespaced: true}, nil
}

// misspelt tells that a table's name is another's but for a few letters of either the plural or the group.
func misspelt(name, known string) bool {
	plural, group, _ := strings.Cut(name, ".")
	knownPlural, knownGroup, _ := strings.Cut(known, ".")
	return group == knownGroup && expr.Nearest(plural, []string{knownPlural}) != "" ||
		plural == knownPlural && expr.Nearest(group, []string{knownGroup}) != ""
}

// plural is a guess at how a kind is listed, by the rules of English that almost all authors follow.
func plural(kind string) string {
	s := strings.ToLower(kind)
	ends := func(with ...string) bool {
		return slices.ContainsFunc(with, func(e string) bool { return strings.HasSuffix(s, e) })
	}
	switch {
	case ends("s", "x", "z", "ch", "sh"):
		return s + "es"
	case ends("y") && !ends("ay", "ey", "iy", "oy", "uy"):
		return s[:len(s)-1] + "ies"
	}
	return s + "s"
}
