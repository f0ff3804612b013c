package statedir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"time"
)

// Ports are TCP ports on loopback, by the name of what listens there.
type Ports map[string]int

// Loopback is the only address that anything here listens on.
const Loopback = "127.0.0.1"

// Addr is host:port of one port.
func (p Ports) Addr(name string) string {
	return net.JoinHostPort(Loopback, strconv.Itoa(p[name]))
}

// Ports are chosen from a range below the one from which systems take the local
// ports of outgoing connections. A port from there could be in use by chance,
// by any client on the machine, when the stack is started again.
const (
	lowestPort  = 18000
	highestPort = 29999
)

// portPatience is how long a taken port is tried again: the components of a
// stack that was killed a moment ago may need it to end.
var portPatience = 5 * time.Second

// Ports chooses a port for each name: the one given (0 is none), else the one
// that was remembered, else a free one; and remembers them. A port that is
// taken is an error, because what knows the old one (a kubeconfig, a worker's
// environment, a bookmark) would silently talk to somebody else.
func (d Dir) Ports(h Half, names []string, given Ports) (Ports, error) {
	var chosen Ports
	var isNew map[string]bool
	err := d.shared(func() error {
		remembered, err := d.remembered(h)
		if err != nil {
			return err
		}
		taken := map[int]bool{}
		for _, other := range Halves {
			if other == h {
				continue
			}
			ports, err := d.remembered(other)
			if err != nil {
				return err
			}
			for port := range maps.Values(ports) {
				taken[port] = true
			}
		}
		chosen, isNew, err = choose(names, given, remembered, taken, isFree)
		if err != nil {
			return err
		}
		content, err := json.MarshalIndent(chosen, "", "  ")
		if err != nil {
			return err
		}
		return Replace(d.Half(h, "ports.json"), append(content, '\n'), 0o600)
	})
	if err != nil {
		return nil, fmt.Errorf("choose the ports of %s: %w", h, err)
	}
	return chosen, d.waitUntilFree(h, chosen, given, isNew)
}

// choose is the pure part of Ports. Names whose port is neither given nor
// remembered are in isNew: their port was found free just now.
func choose(names []string, given, remembered Ports, taken map[int]bool, free func(int) bool) (
	chosen Ports, isNew map[string]bool, err error) {
	chosen, isNew = Ports{}, map[string]bool{}
	var open []string
	for _, name := range names {
		port := given[name]
		if port == 0 {
			port = remembered[name]
		}
		if port == 0 {
			open = append(open, name)
			continue
		}
		if taken[port] {
			return nil, nil, fmt.Errorf("port %d is wanted twice: give another one for %s", port, name)
		}
		taken[port] = true
		chosen[name] = port
	}
	for _, name := range open {
		port, err := find(taken, free)
		if err != nil {
			return nil, nil, err
		}
		taken[port] = true
		chosen[name] = port
		isNew[name] = true
	}
	return chosen, isNew, nil
}

// find begins at random, so that stacks that are started at the same moment in
// different folders hardly ever choose the same port.
func find(taken map[int]bool, free func(int) bool) (int, error) {
	for range 1000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort+1)
		if !taken[port] && free(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port between %d and %d", lowestPort, highestPort)
}

func (d Dir) remembered(h Half) (Ports, error) {
	path := d.Half(h, "ports.json")
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Ports{}, nil
	}
	if err != nil {
		return nil, err
	}
	var ports Ports
	if err := json.Unmarshal(content, &ports); err != nil {
		return nil, fmt.Errorf("%s is damaged (remove it to get new ports): %w", path, err)
	}
	return ports, nil
}

func (d Dir) waitUntilFree(h Half, ports, given Ports, isNew map[string]bool) error {
	deadline := time.Now().Add(portPatience)
	for _, name := range slices.Sorted(maps.Keys(ports)) {
		if isNew[name] {
			continue
		}
		for !isFree(ports[name]) {
			if time.Now().After(deadline) {
				why := "remembered in " + d.Half(h, "ports.json")
				if given[name] != 0 {
					why = "given by flag"
				}
				return fmt.Errorf("port %d of %s (%s) is taken by another program: stop it, or choose another port (`devstack up --help`, or edit that file)",
					ports[name], name, why)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(Loopback, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
