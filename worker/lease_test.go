package worker

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/mainstay-dev/mainstay/watcher"
)

func TestOnlyTheLeaseOfADeadProcessIsFreed(t *testing.T) {
	self := identity()
	host := strings.Split(self, "/")[0]
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Skip("no program to run: ", err)
	}
	cases := []struct {
		name, holder string
		free         bool
	}{
		{"ended", fmt.Sprintf("%s/%d/x", host, ended.Process.Pid), true},
		{"before in this container", fmt.Sprintf("%s/%d/x", host, os.Getpid()), true},
		{"alive", fmt.Sprintf("%s/%d/x", host, os.Getppid()), false},
		{"itself", self, false},
		{"elsewhere", fmt.Sprintf("other/%d/x", ended.Process.Pid), false},
		{"nobody", "", false},
		{"somebody's own name", "pod-7", false},
		{"nonsense", host + "/-1/x", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			transitions := int32(3)
			kube := fake.NewClientset(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "l"},
				Spec: coordinationv1.LeaseSpec{HolderIdentity: &c.holder, LeaseTransitions: &transitions}})
			inherit(t.Context(), kube, &watcher.LeaseOptions{Namespace: "ns", Name: "l", Identity: self}, slog.New(slog.DiscardHandler))
			l, err := kube.CoordinationV1().Leases("ns").Get(t.Context(), "l", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := l.Spec.HolderIdentity == nil; got != c.free || *l.Spec.LeaseTransitions != 3 {
				t.Errorf("holder %q: freed = %v; %v", c.holder, got, l.Spec)
			}
		})
	}
}
