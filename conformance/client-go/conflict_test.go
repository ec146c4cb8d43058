package clientgo

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/util/retry"
)

// stubborn tries for longer than client-go's default, since many write one object.
var stubborn = wait.Backoff{Steps: 1000, Duration: 2 * time.Millisecond, Factor: 1, Jitter: 5}

func TestRetriesOnConflictLoseNoIncrement(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	clients := typed(t, config())
	api := clients.CoreV1().ConfigMaps(space)
	_, err := api.Create(t.Context(), configMap("counter", map[string]string{"count": "0"}), metav1.CreateOptions{})
	must(t, err)
	const rounds = 10
	var conflicts atomic.Int64
	together(t, func(int) error {
		for range rounds {
			err := retry.OnError(stubborn, apierrors.IsConflict, func() error {
				held, err := api.Get(context.Background(), "counter", metav1.GetOptions{})
				if err != nil {
					return err
				}
				count, err := strconv.Atoi(held.Data["count"])
				if err != nil {
					return err
				}
				held.Data["count"] = strconv.Itoa(count + 1)
				_, err = api.Update(context.Background(), held, metav1.UpdateOptions{})
				if apierrors.IsConflict(err) {
					conflicts.Add(1)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	held, err := api.Get(t.Context(), "counter", metav1.GetOptions{})
	must(t, err)
	equal(t, "count", held.Data["count"], strconv.Itoa(writers*rounds))
	if conflicts.Load() == 0 {
		t.Fatal("nobody met a conflict")
	}
}

func TestOfManyWhoCreateOneNameOneSucceeds(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	clients := typed(t, config())
	for round := range 10 {
		name := fmt.Sprintf("it-%d", round)
		var won atomic.Int64
		together(t, func(int) error {
			_, err := clients.CoreV1().ConfigMaps(space).Create(context.Background(), configMap(name, nil), metav1.CreateOptions{})
			switch {
			case err == nil:
				won.Add(1)
			case !apierrors.IsAlreadyExists(err):
				return err
			}
			return nil
		})
		equal(t, "winners", won.Load(), int64(1))
	}
}

func TestPatchesOfDifferentFieldsAreAllKept(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	clients := typed(t, config())
	api := clients.CoreV1().ConfigMaps(space)
	_, err := api.Create(t.Context(), configMap("it", map[string]string{}), metav1.CreateOptions{})
	must(t, err)
	kinds := []types.PatchType{types.MergePatchType, types.StrategicMergePatchType}
	together(t, func(writer int) error {
		for round := range 10 {
			patch := fmt.Sprintf(`{"data":{"key-%d-%d":"value"}}`, writer, round)
			if _, err := api.Patch(context.Background(), "it", kinds[round%2], []byte(patch), metav1.PatchOptions{}); err != nil {
				return err
			}
		}
		return nil
	})
	held, err := api.Get(t.Context(), "it", metav1.GetOptions{})
	must(t, err)
	equal(t, "keys", len(held.Data), writers*10)
}

func TestManyManagersApplyEachTheirFields(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	clients := typed(t, config())
	api := clients.CoreV1().ConfigMaps(space)
	apply := func(manager, key, value string, force bool) (*corev1.ConfigMap, error) {
		wanted := applycore.ConfigMap("it", space).WithData(map[string]string{key: value})
		return api.Apply(context.Background(), wanted, metav1.ApplyOptions{FieldManager: manager, Force: force})
	}
	together(t, func(writer int) error {
		for round := range 5 {
			_, err := apply(fmt.Sprintf("manager-%d", writer), fmt.Sprintf("key-%d", writer), strconv.Itoa(round), false)
			if err != nil {
				return err
			}
		}
		return nil
	})
	held, err := api.Get(t.Context(), "it", metav1.GetOptions{})
	must(t, err)
	equal(t, "keys", len(held.Data), writers)
	equal(t, "managers", len(held.ManagedFields), writers)

	_, err = apply("intruder", "key-0", "mine", false)
	if !apierrors.IsConflict(err) {
		t.Fatalf("another's field was applied: %v", err)
	}
	equal(t, "what the conflict is about", err.(apierrors.APIStatus).Status().Details.Causes, []metav1.StatusCause{{
		Type: metav1.CauseTypeFieldManagerConflict, Message: `conflict with "manager-0"`, Field: ".data.key-0"}})
	held, err = apply("intruder", "key-0", "mine", true)
	must(t, err)
	equal(t, "forced", held.Data["key-0"], "mine")

	// What a manager no longer applies goes, unless another has it too.
	mine, err := applycore.ExtractConfigMap(held, "manager-1")
	must(t, err)
	equal(t, "what manager-1 owns", mine.Data, map[string]string{"key-1": "4"})
	_, err = api.Apply(t.Context(), applycore.ConfigMap("it", space), metav1.ApplyOptions{FieldManager: "manager-1"})
	must(t, err)
	held, err = api.Get(t.Context(), "it", metav1.GetOptions{})
	must(t, err)
	if _, ok := held.Data["key-1"]; ok {
		t.Fatal("key-1 stayed though its manager gave it up")
	}
}

func TestADeletionWithAnotherUIDOrRevisionIsRefused(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	clients := typed(t, config())
	api := clients.CoreV1().ConfigMaps(space)
	made, err := api.Create(t.Context(), configMap("it", nil), metav1.CreateOptions{})
	must(t, err)
	wrong := types.UID("00000000-0000-0000-0000-000000000000")
	for what, conditions := range map[string]*metav1.Preconditions{
		"uid": {UID: &wrong}, "revision": {UID: &made.UID, ResourceVersion: new(string)},
	} {
		if conditions.ResourceVersion != nil {
			*conditions.ResourceVersion = "1"
		}
		err := api.Delete(t.Context(), "it", metav1.DeleteOptions{Preconditions: conditions})
		if !apierrors.IsConflict(err) {
			t.Fatalf("deleted with another %s: %v", what, err)
		}
	}
	must(t, api.Delete(t.Context(), "it", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &made.UID, ResourceVersion: &made.ResourceVersion}}))
}

func TestADryRunChangesNothing(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	clients := typed(t, config())
	api := clients.CoreV1().ConfigMaps(space)
	dry := []string{metav1.DryRunAll}
	made, err := api.Create(t.Context(), configMap("it", map[string]string{"a": "1"}), metav1.CreateOptions{DryRun: dry})
	must(t, err)
	if made.UID == "" {
		t.Fatal("a dry run answers without the object's identity")
	}
	if _, err = api.Get(t.Context(), "it", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Fatalf("a dry run created: %v", err)
	}
	made, err = api.Create(t.Context(), configMap("it", map[string]string{"a": "1"}), metav1.CreateOptions{})
	must(t, err)
	changed := made.DeepCopy()
	changed.Data["a"] = "2"
	answered, err := api.Update(t.Context(), changed, metav1.UpdateOptions{DryRun: dry})
	must(t, err)
	equal(t, "what would be", answered.Data["a"], "2")
	must(t, api.Delete(t.Context(), "it", metav1.DeleteOptions{DryRun: dry}))
	held, err := api.Get(t.Context(), "it", metav1.GetOptions{})
	must(t, err)
	equal(t, "what is", held, made)
}
