package clientgo

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// inProtobuf is the configuration of clients that speak protobuf alone.
func inProtobuf() *rest.Config {
	changed := config()
	changed.ContentType = runtime.ContentTypeProtobuf
	changed.AcceptContentTypes = runtime.ContentTypeProtobuf
	return changed
}

func template() corev1.PodTemplateSpec {
	half := int64(30)
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "it"}},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: &half,
			Containers: []corev1.Container{{
				Name: "it", Image: "it", Env: []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{
					FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}},
				Ports:          []corev1.ContainerPort{{Name: "web", ContainerPort: 80}},
				Resources:      corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("1500m"), "memory": resource.MustParse("1Gi")}},
				ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromString("web")}}},
			}},
			Volumes: []corev1.Volume{{Name: "made", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
				Sources: []corev1.VolumeProjection{{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{
					Path: "cpu", ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: "it", Resource: "requests.cpu", Divisor: resource.MustParse("1m")}}}}}}}}}},
		},
	}
}

func TestWhatIsWrittenInProtobufIsReadTheSameInJSON(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	wire := &requests{}
	binary, plain := typed(t, wire.record(inProtobuf())), typed(t, config())
	none, third, suspended := int32(0), intstr.FromString("33%"), true
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "it"}}

	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "it"},
		Spec: appsv1.DeploymentSpec{Replicas: &none, Selector: selector, Template: template(), Paused: true,
			Strategy: appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &third}}},
	}
	made, err := binary.AppsV1().Deployments(space).Create(t.Context(), deployment, metav1.CreateOptions{})
	must(t, err)
	equal(t, "surge", made.Spec.Strategy.RollingUpdate.MaxSurge.String(), "33%")
	same(t, "a deployment", binary, plain, func(clients kubernetes.Interface) (any, error) {
		return clients.AppsV1().Deployments(space).Get(t.Context(), "it", metav1.GetOptions{})
	})
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "it"}, Spec: batchv1.JobSpec{Suspend: &suspended, Template: template()}}
	job.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	_, err = binary.BatchV1().Jobs(space).Create(t.Context(), job, metav1.CreateOptions{})
	must(t, err)
	same(t, "a job", binary, plain, func(clients kubernetes.Interface) (any, error) {
		return clients.BatchV1().Jobs(space).Get(t.Context(), "it", metav1.GetOptions{})
	})
	data := map[string][]byte{"bytes": {0, 1, 254, 255}, "empty": {}}
	secret, err := binary.CoreV1().Secrets(space).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "it"}, Data: data}, metav1.CreateOptions{})
	must(t, err)
	equal(t, "bytes", secret.Data["bytes"], data["bytes"])
	same(t, "a secret", binary, plain, func(clients kubernetes.Interface) (any, error) {
		return clients.CoreV1().Secrets(space).Get(t.Context(), "it", metav1.GetOptions{})
	})
	_, err = binary.RbacV1().Roles(space).Create(t.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "it"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"", "apps"}, Resources: []string{"*"}, Verbs: []string{"get"}}},
	}, metav1.CreateOptions{})
	must(t, err)
	same(t, "a role", binary, plain, func(clients kubernetes.Interface) (any, error) {
		return clients.RbacV1().Roles(space).Get(t.Context(), "it", metav1.GetOptions{})
	})

	wire.each(func(noted request) {
		if !strings.HasPrefix(noted.answered, runtime.ContentTypeProtobuf) {
			t.Errorf("%s %s was answered in %q", noted.method, noted.url, noted.answered)
		}
	})
}

// same holds what two clients read of one object against each other, once its controllers rest.
func same(t *testing.T, what string, binary, plain kubernetes.Interface, read func(kubernetes.Interface) (any, error)) {
	t.Helper()
	eventually(t, func() string {
		one, err := read(binary)
		must(t, err)
		two, err := read(plain)
		must(t, err)
		if inJSON(t, one) != inJSON(t, two) {
			return fmt.Sprintf("%s is %s in protobuf and %s in JSON", what, inJSON(t, one), inJSON(t, two))
		}
		return ""
	})
}

func inJSON(t *testing.T, object any) string {
	t.Helper()
	written, err := json.Marshal(object)
	must(t, err)
	return string(written)
}

func TestListsInProtobufAndInJSONAreTheSame(t *testing.T) {
	// Not beside tests that write.
	binary, plain := typed(t, inProtobuf()), typed(t, config())
	both := func(what string, one, two runtime.Object, err ...error) {
		t.Helper()
		for _, failed := range err {
			must(t, failed)
		}
		equal(t, what, inJSON(t, one), inJSON(t, two))
	}
	all := metav1.ListOptions{}
	one, e1 := binary.RbacV1().ClusterRoles().List(t.Context(), all)
	two, e2 := plain.RbacV1().ClusterRoles().List(t.Context(), all)
	both("cluster roles", one, two, e1, e2)
	oneSpaces, e1 := binary.CoreV1().ServiceAccounts("").List(t.Context(), all)
	twoSpaces, e2 := plain.CoreV1().ServiceAccounts("").List(t.Context(), all)
	both("accounts", oneSpaces, twoSpaces, e1, e2)
	oneServices, e1 := binary.CoreV1().Services("").List(t.Context(), all)
	twoServices, e2 := plain.CoreV1().Services("").List(t.Context(), all)
	both("services", oneServices, twoServices, e1, e2)
	oneClasses, e1 := binary.SchedulingV1().PriorityClasses().List(t.Context(), all)
	twoClasses, e2 := plain.SchedulingV1().PriorityClasses().List(t.Context(), all)
	both("priority classes", oneClasses, twoClasses, e1, e2)
}

func TestAWatchInProtobufFollowsManyWriters(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	binary := typed(t, inProtobuf())
	api := binary.CoreV1().ConfigMaps(space)
	list, err := api.List(t.Context(), metav1.ListOptions{LabelSelector: "made-by=clients"})
	must(t, err)
	watcher, err := api.Watch(t.Context(), metav1.ListOptions{LabelSelector: "made-by=clients", ResourceVersion: list.ResourceVersion})
	must(t, err)
	defer watcher.Stop()
	together(t, func(writer int) error {
		for round := range 10 {
			made, err := api.Create(context.Background(), configMap(fmt.Sprintf("it-%d-%d", writer, round), nil), metav1.CreateOptions{})
			if err != nil {
				return err
			}
			if _, err = api.Patch(context.Background(), made.Name, types.StrategicMergePatchType, []byte(`{"data":{"a":"b"}}`), metav1.PatchOptions{}); err != nil {
				return err
			}
			if err = api.Delete(context.Background(), made.Name, metav1.DeleteOptions{}); err != nil {
				return err
			}
		}
		return nil
	})
	steps := map[string][]watch.EventType{}
	for range writers * 10 * 3 {
		event := next(t, watcher)
		name := event.Object.(*corev1.ConfigMap).Name
		steps[name] = append(steps[name], event.Type)
	}
	equal(t, "objects", len(steps), writers*10)
	for name, told := range steps {
		equal(t, name, told, []watch.EventType{watch.Added, watch.Modified, watch.Deleted})
	}
}

func TestErrorsInProtobufAreStatusesWithTheirDetails(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	binary := typed(t, inProtobuf())
	_, err := binary.CoreV1().ConfigMaps(space).Get(t.Context(), "nowhere", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) || err.(apierrors.APIStatus).Status().Details.Name != "nowhere" {
		t.Fatalf("what is not there: %v", err)
	}
	_, err = binary.CoreV1().Services(space).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "Not-A-Name"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 70000, TargetPort: intstr.FromInt32(80)}}},
	}, metav1.CreateOptions{})
	if !apierrors.IsInvalid(err) {
		t.Fatalf("what is invalid: %v", err)
	}
	var fields []string
	for _, cause := range err.(apierrors.APIStatus).Status().Details.Causes {
		fields = append(fields, cause.Field)
	}
	equal(t, "fields", strings.Join(fields, " "), "metadata.name spec.ports[0].port")
	_, err = binary.CoreV1().ConfigMaps(space).Watch(t.Context(), metav1.ListOptions{ResourceVersion: "not-a-number"})
	if err == nil {
		t.Fatal("a watch from a revision that is none began")
	}
}

func TestAClientThatAsksForProtobufIsGivenJSONOfACustomKind(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	kind := define(t, "Scroll")
	wire := &requests{}
	changed := wire.record(inProtobuf())
	changed.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	clients := typed(t, changed)
	path := "/apis/" + kind.GroupVersion().String() + "/namespaces/" + space + "/scrolls"
	must(t, clients.CoreV1().RESTClient().Get().AbsPath(path).Do(t.Context()).Error())
	wire.each(func(noted request) { equal(t, "type of the answer", noted.answered, runtime.ContentTypeJSON) })

	changed = inProtobuf()
	err := typed(t, changed).CoreV1().RESTClient().Get().AbsPath(path).Do(t.Context()).Error()
	if !apierrors.IsNotAcceptable(err) {
		t.Fatalf("protobuf alone is asked for of a custom kind: %v", err)
	}
}

func TestLargeObjectsAreReadWholeByManyInEveryContentType(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	const size = 500_000
	uncompressed := config()
	uncompressed.DisableCompression = true
	kinds := []*kubernetes.Clientset{typed(t, config()), typed(t, uncompressed), typed(t, inProtobuf())}
	_, err := kinds[0].CoreV1().ConfigMaps(space).Create(t.Context(), configMap("it", map[string]string{"a": strings.Repeat("long ", size/5)}), metav1.CreateOptions{})
	must(t, err)
	together(t, func(writer int) error {
		for range 10 {
			held, err := kinds[writer%len(kinds)].CoreV1().ConfigMaps(space).Get(context.Background(), "it", metav1.GetOptions{})
			if err != nil {
				return err
			}
			if len(held.Data["a"]) != size {
				return fmt.Errorf("%d bytes, want %d", len(held.Data["a"]), size)
			}
		}
		return nil
	})
}
