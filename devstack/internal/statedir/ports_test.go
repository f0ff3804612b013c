package statedir

import (
	"net"
	"strings"
	"testing"
	"time"
)

func TestChoosePrefersGivenThenRememberedThenFree(t *testing.T) {
	asked := []int{}
	free := func(port int) bool { asked = append(asked, port); return true }
	got, isNew, err := choose([]string{"a", "b", "c"}, Ports{"a": 1}, Ports{"a": 2, "b": 3}, map[int]bool{}, free)
	if err != nil {
		t.Fatal(err)
	}
	if got["a"] != 1 || got["b"] != 3 {
		t.Errorf("got %v, want a=1 (given) and b=3 (remembered)", got)
	}
	if c := got["c"]; c < lowestPort || c > highestPort || len(asked) != 1 || asked[0] != c || !isNew["c"] {
		t.Errorf("c is %d after asking for %v, want the free one that was asked for", c, asked)
	}
	if isNew["a"] || isNew["b"] {
		t.Errorf("new are %v, want only c", isNew)
	}
}

func TestChooseNeverGivesOnePortTwice(t *testing.T) {
	always := func(int) bool { return true }
	_, _, err := choose([]string{"a"}, Ports{"a": 5}, nil, map[int]bool{5: true}, always)
	if err == nil || !strings.Contains(err.Error(), "port 5") {
		t.Errorf("a port of the other half was given again: %v", err)
	}
	_, _, err = choose([]string{"a", "b"}, Ports{"a": 5, "b": 5}, nil, map[int]bool{}, always)
	if err == nil {
		t.Error("two names got one port")
	}
	_, _, err = choose([]string{"a"}, nil, nil, map[int]bool{}, func(int) bool { return false })
	if err == nil {
		t.Error("got a port where none is free")
	}
}

func TestPortsAreRemembered(t *testing.T) {
	d := open(t)
	first, err := d.Ports(Temporal, []string{"a", "b"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.Ports(Temporal, []string{"a", "b"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if first["a"] != again["a"] || first["b"] != again["b"] || first["a"] == first["b"] {
		t.Errorf("first %v, then %v: want the same two different ports", first, again)
	}
	other, err := d.Ports(Kubernetes, []string{"a"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if other["a"] == first["a"] || other["a"] == first["b"] {
		t.Errorf("the other half got %d, which is in %v", other["a"], first)
	}
}

func TestTakenPortIsAnError(t *testing.T) {
	defer func(was time.Duration) { portPatience = was }(portPatience)
	portPatience = 100 * time.Millisecond
	d := open(t)
	ports, err := d.Ports(Temporal, []string{"a"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", ports.Addr("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = d.Ports(Temporal, []string{"a"}, nil)
	if err == nil || !strings.Contains(err.Error(), "taken by another program") || !strings.Contains(err.Error(), "ports.json") {
		t.Errorf("got %v, want an error that says that it is taken and where it is remembered", err)
	}
}

func open(t *testing.T) Dir {
	t.Helper()
	d, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return d
}
