// Command protobuf is Kubernetes' own protobuf, for the transcoder of control/machinery to be held beside.
//
// `protobuf fixtures` fills objects of many kinds and prints each as a line: its bytes in hex, a space, its JSON.
// `protobuf verify` reads such lines and fails where the bytes do not decode to the JSON.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	apps "k8s.io/api/apps/v1"
	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	events "k8s.io/api/events/v1"
	networking "k8s.io/api/networking/v1"
	node "k8s.io/api/node/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	scheduling "k8s.io/api/scheduling/v1"
	storage "k8s.io/api/storage/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

var scheme = runtime.NewScheme()

func register() {
	for _, add := range []func(*runtime.Scheme) error{
		core.AddToScheme, apps.AddToScheme, batch.AddToScheme, autoscaling.AddToScheme, autoscalingv1.AddToScheme,
		policy.AddToScheme, discovery.AddToScheme, networking.AddToScheme, events.AddToScheme,
		coordination.AddToScheme, rbac.AddToScheme, node.AddToScheme, storage.AddToScheme, scheduling.AddToScheme,
		admissionregistration.AddToScheme, authentication.AddToScheme, authorization.AddToScheme,
		apiextensions.AddToScheme, apiregistration.AddToScheme,
	} {
		check(add(scheme))
	}
}

// full are the kinds that come out with every field set; of the others, empty objects come out.
var full = strings.Fields(`
	v1/Pod v1/ConfigMap v1/Secret v1/Service v1/Namespace v1/Node v1/PersistentVolume v1/PersistentVolumeClaim
	v1/Event v1/Endpoints v1/ServiceAccount v1/ResourceQuota v1/LimitRange v1/DeleteOptions v1/Status v1/ConfigMapList
	apps/v1/Deployment apps/v1/StatefulSet apps/v1/ControllerRevision batch/v1/CronJob
	autoscaling/v2/HorizontalPodAutoscaler autoscaling/v1/Scale policy/v1/PodDisruptionBudget policy/v1/Eviction
	discovery.k8s.io/v1/EndpointSlice networking.k8s.io/v1/Ingress networking.k8s.io/v1/NetworkPolicy
	events.k8s.io/v1/Event coordination.k8s.io/v1/Lease rbac.authorization.k8s.io/v1/ClusterRole
	rbac.authorization.k8s.io/v1/RoleBinding node.k8s.io/v1/RuntimeClass storage.k8s.io/v1/CSIDriver
	admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration
	admissionregistration.k8s.io/v1/MutatingAdmissionPolicy authentication.k8s.io/v1/TokenReview
	authentication.k8s.io/v1/TokenRequest authorization.k8s.io/v1/SubjectAccessReview
	apiextensions.k8s.io/v1/CustomResourceDefinition apiregistration.k8s.io/v1/APIService`)

var empty = strings.Fields(`
	v1/Pod v1/Service v1/Event apps/v1/Deployment rbac.authorization.k8s.io/v1/Role coordination.k8s.io/v1/Lease
	networking.k8s.io/v1/Ingress apiextensions.k8s.io/v1/CustomResourceDefinition`)

func main() {
	register()
	switch {
	case len(os.Args) == 2 && os.Args[1] == "fixtures":
		for _, kind := range full {
			write(kind, true)
		}
		for _, kind := range empty {
			write(kind, false)
		}
	case len(os.Args) == 2 && os.Args[1] == "verify":
		verify()
	default:
		check(fmt.Errorf("usage: protobuf fixtures|verify"))
	}
}

func write(kind string, fill bool) {
	parts := strings.Split("/"+kind, "/")
	gvk := schema.GroupVersionKind{Group: parts[len(parts)-3], Version: parts[len(parts)-2], Kind: parts[len(parts)-1]}
	object, err := scheme.New(gvk)
	check(err)
	if fill {
		(&filler{sparse: gvk.Kind != "Pod"}).fill(reflect.ValueOf(object).Elem(), 0)
	}
	object.GetObjectKind().SetGroupVersionKind(gvk)
	var encoded bytes.Buffer
	check(protobuf.NewSerializer(scheme, scheme).Encode(object, &encoded))
	fmt.Printf("%s %s\n", hex.EncodeToString(encoded.Bytes()), asJSON(encoded.Bytes()))
}

// asJSON is what the bytes say, which is not always what was encoded: times lose their fractions.
func asJSON(encoded []byte) []byte {
	object, gvk, err := protobuf.NewSerializer(scheme, scheme).Decode(encoded, nil, nil)
	check(err)
	object.GetObjectKind().SetGroupVersionKind(*gvk)
	text, err := json.Marshal(object)
	check(err)
	return text
}

func verify() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	count := 0
	for ; lines.Scan(); count++ {
		digits, text, _ := strings.Cut(lines.Text(), " ")
		encoded, err := hex.DecodeString(digits)
		check(err)
		var is, wanted any
		check(json.Unmarshal(asJSON(encoded), &is))
		check(json.Unmarshal([]byte(text), &wanted))
		if !reflect.DeepEqual(is, wanted) {
			check(fmt.Errorf("decodes to %v\nand not to %v", is, wanted))
		}
	}
	check(lines.Err())
	fmt.Printf("protobuf: %d of %d passed\n", count, count)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
