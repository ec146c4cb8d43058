// Command cel answers expressions with Kubernetes' own Common Expression Language environment: one JSON document a line
// in, one answer a line out. A question is either {"expr": …, "vars": …}, judged in the environment that every use in
// Kubernetes starts from with its variables declared as dyn, or {"schema": …, "rules": …, "self": …, "oldSelf": …},
// judged as the x-kubernetes-validations of a custom resource, {"definition": …}, a schema that is to be created, or
// {"change": {"schema": …, "object": …, "old": …}}, an object that is created or changed. The tests of
// control/expressions and control/machinery compare with the answers.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"sort"

	"github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/util/version"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
)

type question struct {
	Expr    string          `json:"expr"`
	Vars    map[string]any  `json:"vars"`
	Schema  json.RawMessage `json:"schema"`
	Rules   json.RawMessage `json:"rules"`
	Self    json.RawMessage `json:"self"`
	OldSelf json.RawMessage `json:"oldSelf"`
	// Definition is the schema of a definition that is to be created.
	Definition json.RawMessage `json:"definition"`
	// Change is an object that is created or changed.
	Change *change `json:"change"`
	// Like is the number, from one, of an earlier question whose vars, schema and self this one has too.
	Like int `json:"like"`
}

type answer struct {
	Compile  string   `json:"compile,omitempty"`
	Program  string   `json:"program,omitempty"`
	Type     string   `json:"type,omitempty"`
	Value    string   `json:"value,omitempty"`
	Error    string   `json:"error,omitempty"`
	Cost     *uint64  `json:"cost,omitempty"`
	Min      *uint64  `json:"min,omitempty"`
	Max      *uint64  `json:"max,omitempty"`
	Rules    []rule   `json:"rules,omitempty"`
	Failures []string `json:"failures,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	Spent    *int64   `json:"spent,omitempty"`
}

var base = environment.MustBaseEnvSet(version.MajorMinor(1, 36))

// Kubernetes names the type of self after the clock.
var selfType = regexp.MustCompile(`selfType\d+`)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "spec" {
		if err := writeSpec(os.Args[2], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	var asked []question
	for number := 1; lines.Scan(); number++ {
		var q question
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			fmt.Fprintf(os.Stderr, "line %d: %v\n", number, err)
			os.Exit(1)
		}
		if 0 < q.Like && q.Like <= len(asked) {
			like := asked[q.Like-1]
			q.Vars, q.Schema, q.Self = like.Vars, like.Schema, like.Self
		}
		asked = append(asked, q)
		var a answer
		if q.Change != nil {
			if 0 < q.Like && q.Like <= len(asked) && asked[q.Like-1].Change != nil {
				like := asked[q.Like-1].Change
				q.Change.Schema, q.Change.Scale, q.Change.Status = like.Schema, like.Scale, like.Status
			}
			a = judgeChange(*q.Change)
		} else if q.Definition != nil {
			a = judgeDefinition(q.Definition)
		} else if q.Schema != nil {
			a = judgeRules(q)
		} else {
			a = judgeSafely(q)
		}
		if err := encoder.Encode(a); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func judgeExpression(q question) (a answer) {
	names := make([]string, 0, len(q.Vars))
	for name := range q.Vars {
		names = append(names, name)
	}
	sort.Strings(names)
	var options []cel.EnvOption
	for _, name := range names {
		q.Vars[name] = native(q.Vars[name])
		options = append(options, cel.Variable(name, cel.DynType))
	}
	set, err := base.Extend(environment.VersionedOptions{IntroducedVersion: version.MajorMinor(1, 0), EnvOptions: options})
	if err != nil {
		a.Compile = err.Error()
		return a
	}
	env := set.NewExpressionsEnv()
	ast, issues := env.Compile(q.Expr)
	if issues != nil {
		a.Compile = issues.String()
		return a
	}
	a.Type = cel.FormatCELType(ast.OutputType())
	if estimate, err := env.EstimateCost(ast, &library.CostEstimator{}); err == nil {
		a.Min, a.Max = &estimate.Min, &estimate.Max
	}
	program, err := env.Program(ast, cel.CostLimit(celconfig.PerCallLimit), cel.CostTracking(&library.CostEstimator{}))
	if err != nil {
		a.Program = err.Error()
		return a
	}
	if q.Vars == nil {
		q.Vars = map[string]any{}
	}
	value, details, err := program.Eval(q.Vars)
	if details != nil {
		a.Cost = details.ActualCost()
	}
	if err != nil {
		a.Error = err.Error()
		return a
	}
	a.Value = render(value)
	return a
}

// native turns JSON's numbers into what Kubernetes decodes them to.
func native(value any) any {
	switch value := value.(type) {
	case float64:
		if value == float64(int64(value)) {
			return int64(value)
		}
	case []any:
		for i := range value {
			value[i] = native(value[i])
		}
	case map[string]any:
		for key := range value {
			value[key] = native(value[key])
		}
	}
	return value
}
