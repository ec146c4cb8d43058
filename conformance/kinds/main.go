// Command kinds prints what Kubernetes itself makes of objects, one JSON document a line: `kinds defaults` prints each
// object with upstream's defaults, `kinds validation` the errors of upstream's validation of a create (or of an update,
// where the document is {"old": …, "new": …}). The tests of control/machinery compare with what it printed.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"sort"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/apps"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/autoscaling"
	autoscalingvalidation "k8s.io/kubernetes/pkg/apis/autoscaling/validation"
	"k8s.io/kubernetes/pkg/apis/batch"
	batchvalidation "k8s.io/kubernetes/pkg/apis/batch/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	networkingvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
	"k8s.io/kubernetes/pkg/apis/rbac"
	rbacvalidation "k8s.io/kubernetes/pkg/apis/rbac/validation"
	"k8s.io/kubernetes/pkg/apis/scheduling"
	schedulingvalidation "k8s.io/kubernetes/pkg/apis/scheduling/validation"
	"k8s.io/kubernetes/pkg/capabilities"

	_ "k8s.io/kubernetes/pkg/apis/admissionregistration/install"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	_ "k8s.io/kubernetes/pkg/apis/coordination/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/discovery/install"
	_ "k8s.io/kubernetes/pkg/apis/events/install"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	_ "k8s.io/kubernetes/pkg/apis/node/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"
	_ "k8s.io/kubernetes/pkg/apis/resource/install"
	_ "k8s.io/kubernetes/pkg/apis/scheduling/install"
	_ "k8s.io/kubernetes/pkg/apis/storage/install"
)

type document struct {
	Old json.RawMessage `json:"old"`
	New json.RawMessage `json:"new"`
}

type fieldError struct {
	Reason  string `json:"reason"`
	Field   string `json:"field"`
	Message string `json:"message"`
}

func main() {
	// As every cluster that kubeadm makes.
	capabilities.Initialize(capabilities.Capabilities{AllowPrivileged: true})
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for {
		var raw json.RawMessage
		if err := in.Decode(&raw); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			fail(err)
		}
		var doc document
		if err := json.Unmarshal(raw, &doc); err != nil {
			fail(err)
		}
		if doc.New == nil {
			doc.New = raw
		}
		object, internal := decode(doc.New)
		if len(os.Args) > 1 && os.Args[1] == "defaults" {
			print(out, object)
			continue
		}
		var old runtime.Object
		if doc.Old != nil {
			_, old = decode(doc.Old)
		}
		list, known := validate(internal, old)
		if !known {
			fail(fmt.Errorf("validation of %s is not wired", raw))
		}
		result := []fieldError{}
		for _, e := range list {
			result = append(result, fieldError{string(e.Type), e.Field, e.ErrorBody()})
		}
		// Upstream walks maps, so its order differs from run to run.
		sort.Slice(result, func(i, j int) bool {
			a, b := result[i], result[j]
			return a.Field < b.Field || a.Field == b.Field && a.Message < b.Message
		})
		print(out, result)
	}
}

// print writes with keys in order, as the other side compares and people read.
func print(out *json.Encoder, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		fail(err)
	}
	var sorted any
	if err := json.Unmarshal(text, &sorted); err != nil {
		fail(err)
	}
	if err := out.Encode(sorted); err != nil {
		fail(err)
	}
}

func decode(raw []byte) (versioned, internal runtime.Object) {
	versioned, kind, err := legacyscheme.Codecs.UniversalDeserializer().Decode(raw, nil, nil)
	if err != nil {
		fail(fmt.Errorf("%s: %w", raw, err))
	}
	legacyscheme.Scheme.Default(versioned)
	target := kind.GroupKind().WithVersion(runtime.APIVersionInternal).GroupVersion()
	internal, err = legacyscheme.Scheme.ConvertToVersion(versioned.DeepCopyObject(), target)
	if err != nil {
		fail(err)
	}
	// There and back, because a few fields mirror each other only in the conversion.
	again, err := legacyscheme.Scheme.ConvertToVersion(internal.DeepCopyObject(), kind.GroupVersion())
	if err != nil {
		fail(err)
	}
	return again, internal
}

// validate says what upstream finds wrong, and whether it was asked at all.
func validate(object, old runtime.Object) (field.ErrorList, bool) {
	switch o := object.(type) {
	case *core.Pod:
		options := pod.GetValidationOptionsFromPodSpecAndMeta(&o.Spec, nil, &o.ObjectMeta, nil)
		if old != nil {
			return corevalidation.ValidatePodUpdate(o, old.(*core.Pod), options), true
		}
		return corevalidation.ValidatePodCreate(o, options), true
	case *core.Service:
		if old != nil {
			return corevalidation.ValidateServiceUpdate(o, old.(*core.Service)), true
		}
		return corevalidation.ValidateServiceCreate(o), true
	case *core.ConfigMap:
		if old != nil {
			return corevalidation.ValidateConfigMapUpdate(o, old.(*core.ConfigMap)), true
		}
		return corevalidation.ValidateConfigMap(o), true
	case *core.Secret:
		if old != nil {
			return corevalidation.ValidateSecretUpdate(o, old.(*core.Secret)), true
		}
		return corevalidation.ValidateSecret(o), true
	case *core.Namespace:
		return corevalidation.ValidateNamespace(o), true
	case *core.PersistentVolumeClaim:
		options := corevalidation.PersistentVolumeClaimSpecValidationOptions{EnableRecoverFromExpansionFailure: true}
		if old != nil {
			return corevalidation.ValidatePersistentVolumeClaimUpdate(o, old.(*core.PersistentVolumeClaim), options), true
		}
		return corevalidation.ValidatePersistentVolumeClaim(o, options), true
	case *scheduling.PriorityClass:
		if old != nil {
			return schedulingvalidation.ValidatePriorityClassUpdate(o, old.(*scheduling.PriorityClass)), true
		}
		return schedulingvalidation.ValidatePriorityClass(o), true
	case *core.ResourceQuota:
		return corevalidation.ValidateResourceQuota(o), true
	case *core.LimitRange:
		return corevalidation.ValidateLimitRange(o), true
	case *apps.Deployment:
		options := pod.GetValidationOptionsFromPodTemplate(&o.Spec.Template, nil)
		if old != nil {
			list := appsvalidation.ValidateDeploymentUpdate(o, old.(*apps.Deployment), options)
			return list, true
		}
		return appsvalidation.ValidateDeployment(o, options), true
	case *apps.ReplicaSet:
		options := pod.GetValidationOptionsFromPodTemplate(&o.Spec.Template, nil)
		if old != nil {
			return appsvalidation.ValidateReplicaSetUpdate(o, old.(*apps.ReplicaSet), options), true
		}
		return appsvalidation.ValidateReplicaSet(o, options), true
	case *apps.StatefulSet:
		options := pod.GetValidationOptionsFromPodTemplate(&o.Spec.Template, nil)
		if old != nil {
			return appsvalidation.ValidateStatefulSetUpdate(o, old.(*apps.StatefulSet), options), true
		}
		return appsvalidation.ValidateStatefulSet(o, options), true
	case *apps.DaemonSet:
		options := pod.GetValidationOptionsFromPodTemplate(&o.Spec.Template, nil)
		if old != nil {
			// Its strategy counts the changes of the template before it validates.
			if !reflect.DeepEqual(o.Spec.Template, old.(*apps.DaemonSet).Spec.Template) {
				o.Spec.TemplateGeneration++
			}
			return appsvalidation.ValidateDaemonSetUpdate(o, old.(*apps.DaemonSet), options), true
		}
		return appsvalidation.ValidateDaemonSet(o, options), true
	case *batch.Job:
		return batchvalidation.ValidateJob(o, batchvalidation.JobValidationOptions{RequirePrefixedLabels: true}), true
	case *batch.CronJob:
		return batchvalidation.ValidateCronJobCreate(o, corevalidation.PodValidationOptions{}), true
	case *rbac.Role:
		return rbacvalidation.ValidateRole(o), true
	case *rbac.RoleBinding:
		if old != nil {
			return rbacvalidation.ValidateRoleBindingUpdate(o, old.(*rbac.RoleBinding)), true
		}
		return rbacvalidation.ValidateRoleBinding(o), true
	case *networking.Ingress:
		return networkingvalidation.ValidateIngressCreate(o), true
	case *networking.IPAddress:
		if old != nil {
			return networkingvalidation.ValidateIPAddressUpdate(o, old.(*networking.IPAddress)), true
		}
		return networkingvalidation.ValidateIPAddress(o), true
	case *networking.ServiceCIDR:
		if old != nil {
			return networkingvalidation.ValidateServiceCIDRUpdate(o, old.(*networking.ServiceCIDR)), true
		}
		return networkingvalidation.ValidateServiceCIDR(o), true
	case *networking.NetworkPolicy:
		return networkingvalidation.ValidateNetworkPolicy(o, networkingvalidation.NetworkPolicyValidationOptions{}), true
	case *policy.PodDisruptionBudget:
		return policyvalidation.ValidatePodDisruptionBudget(o, policyvalidation.PodDisruptionBudgetValidationOptions{}), true
	case *autoscaling.HorizontalPodAutoscaler:
		return autoscalingvalidation.ValidateHorizontalPodAutoscaler(o, autoscalingvalidation.HorizontalPodAutoscalerSpecValidationOptions{MinReplicasLowerBound: 1}), true
	}
	return nil, false
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
