package worker

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/mainstay-dev/mainstay/watcher"
)

// Lease says how replicas agree on the one that signals.
type Lease struct {
	// Namespace of the Lease. Default: the pod's, else "default".
	Namespace string
	// Name of the Lease. Default: one that is the same for all replicas that serve the same kinds of resources.
	Name string
	// Duration is how long a leader that has died keeps the others waiting. Default: 15 s.
	Duration time.Duration
}

// inPod is where Kubernetes tells a pod its namespace.
const inPod = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// lease is what the watcher needs to know.
func (w *Worker) lease() *watcher.LeaseOptions {
	l := w.opts.Lease
	if l.Namespace == "" {
		own, _ := os.ReadFile(inPod) // not in a pod: the default
		l.Namespace = cmp.Or(strings.TrimSpace(string(own)), "default")
	}
	if l.Name == "" {
		var kinds []string
		for _, op := range w.operators {
			kinds = append(kinds, op.Plan.Resource.CRD())
		}
		slices.Sort(kinds)
		sum := sha256.Sum256([]byte(strings.Join(kinds, "\n")))
		l.Name = "mainstay-" + hex.EncodeToString(sum[:5])
	}
	if l.Duration == 0 {
		l.Duration = 15 * time.Second
	}
	return &watcher.LeaseOptions{
		Namespace: l.Namespace, Name: l.Name, Identity: identity(),
		Duration: l.Duration, RenewDeadline: l.Duration * 2 / 3, RetryPeriod: l.Duration / 8,
	}
}

// identity names this process among the replicas: machine, process and, because process ids come again, chance.
func identity() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d/%s", host, os.Getpid(), rand.Text()[:8])
}

// dead tells whether the holder of a Lease was a process of this machine that is no more. In a container that is
// started again that is its predecessor: it had the same process id.
func dead(holder, self string) bool {
	h, s := strings.Split(holder, "/"), strings.Split(self, "/")
	if len(h) != 3 || len(s) != 3 || h[0] != s[0] || holder == self {
		return false
	}
	pid, err := strconv.Atoi(h[1])
	if err != nil || pid <= 0 {
		return false
	}
	return h[1] == s[1] || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// inherit frees the Lease that a dead process of this machine holds, so that a restart after a crash doesn't wait for
// it to expire. What goes wrong here only costs that wait.
func inherit(ctx context.Context, kube kubernetes.Interface, o *watcher.LeaseOptions, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	leases := kube.CoordinationV1().Leases(o.Namespace)
	l, err := leases.Get(ctx, o.Name, metav1.GetOptions{})
	if err != nil {
		if !apierrors.IsNotFound(err) {
			log.Debug("the Lease can't be read", "lease", o.Namespace+"/"+o.Name, "error", err)
		}
		return
	}
	holder := l.Spec.HolderIdentity
	if holder == nil || !dead(*holder, o.Identity) {
		return
	}
	freed := l.DeepCopy()
	freed.Spec = coordinationv1.LeaseSpec{LeaseTransitions: l.Spec.LeaseTransitions}
	if _, err := leases.Update(ctx, freed, metav1.UpdateOptions{}); err != nil {
		log.Debug("the Lease of a dead process can't be freed", "lease", o.Namespace+"/"+o.Name, "error", err)
		return
	}
	log.Info("the process that led before is dead; its Lease is free", "lease", o.Namespace+"/"+o.Name, "holder", *holder)
}
