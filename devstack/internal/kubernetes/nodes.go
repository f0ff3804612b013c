package kubernetes

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func nodeName(i int) string { return fmt.Sprintf("node-%d", i) }

// createNodes makes the nodes that are missing. More than were asked for, from
// an earlier start or made by hand, are left as they are.
func createNodes(ctx context.Context, client kubernetes.Interface, count int) error {
	for i := range count {
		name := nodeName(i)
		_, err := client.CoreV1().Nodes().Create(ctx, &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{
				Name: name,
				Labels: map[string]string{
					corev1.LabelHostname:            name,
					corev1.LabelOSStable:            "linux",
					corev1.LabelArchStable:          "amd64",
					"type":                          "kwok",
					"kubernetes.io/role":            "agent",
					"node-role.kubernetes.io/agent": "",
				},
				Annotations: map[string]string{"kwok.x-k8s.io/node": "fake"},
			},
		}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create %s: %w", name, err)
		}
	}
	return nil
}
