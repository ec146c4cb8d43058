package clientgo

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

const leaseDuration = 3 * time.Second

// candidate runs for the lease `leader` until the context ends, each time with `lead` for as long as it leads.
func candidate(ctx context.Context, clients kubernetes.Interface, space, identity string, release bool, lead func(context.Context)) error {
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: space, Name: "leader"},
			Client:     clients.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
		},
		LeaseDuration:   leaseDuration,
		RenewDeadline:   2 * time.Second,
		RetryPeriod:     200 * time.Millisecond,
		ReleaseOnCancel: release,
		Callbacks:       leaderelection.LeaderCallbacks{OnStartedLeading: lead, OnStoppedLeading: func() {}},
	})
	if err != nil {
		return err
	}
	elector.Run(ctx)
	return nil
}

func TestOfManyCandidatesOneLeadsAtATimeAndEachGetsItsTurn(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	clients := typed(t, config())
	const candidates, turns = 8, 5
	var leading, most, taken atomic.Int64
	whole, end := context.WithTimeout(t.Context(), patience)
	defer end()
	var group sync.WaitGroup
	for number := range candidates {
		group.Go(func() {
			for turn := 0; whole.Err() == nil; turn++ {
				term, resign := context.WithCancel(whole)
				identity := fmt.Sprintf("candidate-%d-%d", number, turn)
				worked := make(chan struct{})
				err := candidate(term, clients, space, identity, true, func(context.Context) {
					defer close(worked)
					if now := leading.Add(1); now > most.Load() {
						most.Store(now)
					}
					time.Sleep(100 * time.Millisecond)
					leading.Add(-1)
					if taken.Add(1) == turns {
						end()
					}
					resign()
				})
				if err != nil {
					t.Error(err)
				}
				if whole.Err() == nil {
					<-worked
				}
				resign()
			}
		})
	}
	group.Wait()
	if taken.Load() < turns {
		t.Fatalf("%d terms were led, want %d", taken.Load(), turns)
	}
	equal(t, "most leaders at a time", most.Load(), int64(1))
}

func TestALeaderThatDiesIsFollowedOnceItsLeaseRanOut(t *testing.T) {
	t.Parallel()
	space := namespace(t)
	clients := typed(t, config())
	first, die := context.WithCancel(t.Context())
	led := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		if err := candidate(first, clients, space, "first", false, func(context.Context) { close(led) }); err != nil {
			t.Error(err)
		}
	})
	<-led
	die()
	group.Wait()
	died := time.Now()
	second, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	var followed time.Duration
	group.Go(func() {
		if err := candidate(second, clients, space, "second", true, func(context.Context) { followed = time.Since(died); stop() }); err != nil {
			t.Error(err)
		}
	})
	group.Wait()
	if followed < leaseDuration/2 || followed > 3*leaseDuration {
		t.Fatalf("followed after %v, want about %v", followed, leaseDuration)
	}
	lease, err := clients.CoordinationV1().Leases(space).Get(t.Context(), "leader", metav1.GetOptions{})
	must(t, err)
	equal(t, "transitions", *lease.Spec.LeaseTransitions, int32(1))
	equal(t, "who holds what was released", *lease.Spec.HolderIdentity, "")
}
