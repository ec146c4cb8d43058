package clientgo

import (
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
)

// requests are those that passed, for tests of what went over the wire.
type requests struct {
	lock sync.Mutex
	all  []request
}

type request struct{ method, url, accept, sent, answered string }

// record makes clients of the configuration note what they ask.
func (r *requests) record(config *rest.Config) *rest.Config {
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(asked *http.Request) (*http.Response, error) {
			answer, err := next.RoundTrip(asked)
			noted := request{asked.Method, asked.URL.String(), asked.Header.Get("Accept"), asked.Header.Get("Content-Type"), ""}
			if err == nil {
				noted.answered = answer.Header.Get("Content-Type")
			}
			r.lock.Lock()
			defer r.lock.Unlock()
			r.all = append(r.all, noted)
			return answer, err
		})
	})
	return config
}

// count is how many were asked by a method whose addresses have all the parts.
func (r *requests) count(method string, parts ...string) (count int) {
	r.lock.Lock()
	defer r.lock.Unlock()
next:
	for _, noted := range r.all {
		for _, part := range parts {
			if !strings.Contains(noted.url, part) {
				continue next
			}
		}
		if noted.method == method {
			count++
		}
	}
	return count
}

// each runs over those that were asked.
func (r *requests) each(look func(request)) {
	r.lock.Lock()
	defer r.lock.Unlock()
	for _, noted := range r.all {
		look(noted)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (r roundTrip) RoundTrip(asked *http.Request) (*http.Response, error) { return r(asked) }

// compareRevisions tells whether the second comes after the first.
func compareRevisions(first, second string) (bool, error) {
	one, ok := new(big.Int).SetString(first, 10)
	two, fine := new(big.Int).SetString(second, 10)
	if !ok || !fine {
		return false, fmt.Errorf("revisions %q and %q are not numbers", first, second)
	}
	return one.Cmp(two) < 0, nil
}
