// Reads queries with Prometheus' own parser: those of its parser's tests, of its evaluation tests, and broken copies of
// both. Each is a line of JSON: the query, whether experimental parts are on, and how it prints or why it is refused.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	goparser "go/parser"
	"go/token"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/prometheus/promql/parser"
)

type verdict struct {
	Query        string `json:"query"`
	Experimental bool   `json:"experimental"`
	Printed      string `json:"printed,omitempty"`
	Error        string `json:"error,omitempty"`
}

func main() {
	seed := flag.Int64("seed", 1, "what broken queries are made from")
	broken := flag.Int("broken", 3, "how many broken copies of each query")
	flag.Parse()
	directory, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/prometheus/prometheus").Output()
	if err != nil {
		fail(err)
	}
	queries := collect(strings.TrimSpace(string(directory)))
	dice := rand.New(rand.NewSource(*seed))
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	seen := map[string]bool{}
	for _, query := range queries {
		judge(encoder, seen, query)
		for range *broken {
			judge(encoder, seen, spoil(dice, query, queries))
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func judge(encoder *json.Encoder, seen map[string]bool, query string) {
	if seen[query] || !utf8.ValidString(query) || len(query) > 5000 {
		return
	}
	seen[query] = true
	for _, on := range []bool{false, true} {
		parse := parser.NewParser(parser.Options{
			EnableExperimentalFunctions:  on,
			ExperimentalDurationExpr:     on,
			EnableExtendedRangeSelectors: on,
			EnableBinopFillModifiers:     on,
		})
		found := verdict{Query: query, Experimental: on}
		if expr, err := parse.ParseExpr(query); err != nil {
			found.Error = err.Error()
		} else {
			found.Printed = expr.String()
		}
		if err := encoder.Encode(found); err != nil {
			fail(err)
		}
	}
}

// collect finds the queries in upstream's tests.
func collect(directory string) []string {
	var queries []string
	for _, name := range []string{"parse_test.go", "printer_test.go", "prettier_test.go"} {
		file, err := goparser.ParseFile(token.NewFileSet(), filepath.Join(directory, "promql/parser", name), nil, 0)
		if err != nil {
			fail(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			pair, ok := node.(*ast.KeyValueExpr)
			if !ok {
				return true
			}
			key, _ := pair.Key.(*ast.Ident)
			value, _ := pair.Value.(*ast.BasicLit)
			if key != nil && value != nil && value.Kind == token.STRING && (key.Name == "input" || key.Name == "in") {
				if text, err := strconv.Unquote(value.Value); err == nil {
					queries = append(queries, text)
				}
			}
			return true
		})
	}
	files, _ := filepath.Glob(filepath.Join(directory, "promql/promqltest/testdata/*.test"))
	instant := regexp.MustCompile(`^eval\S*\s+instant\s+(?:at\s+\S+)?\s+(.+)$`)
	ranged := regexp.MustCompile(`^eval\S*\s+range\s+from\s+\S+\s+to\s+\S+\s+step\s+\S+\s+(.+)$`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			fail(err)
		}
		for line := range strings.Lines(string(text)) {
			for _, pattern := range []*regexp.Regexp{instant, ranged} {
				if match := pattern.FindStringSubmatch(strings.TrimSpace(line)); match != nil {
					queries = append(queries, match[1])
				}
			}
		}
	}
	return queries
}

var pieces = strings.Fields(`( ) [ ] { } , : = == != =~ !~ < <= > >= </ >/ + - * / % ^ @ # " ' and or unless atan2 bool on ` +
	`ignoring group_left group_right by without offset anchored smoothed fill fill_left start end step range max_of sum ` +
	`avg topk count_values limitk rate info foo a:b 5m 1h30m 0x1f 1e3 .5 1. 1_0 08 NaN Inf "x" 'y' [5m] [1h:1m] [5m:] {} ` +
	`{a="b"} start() step() (5m) -1 _ \ $ é`)

// spoil takes a piece out of a query, puts one in, or doubles one.
func spoil(dice *rand.Rand, query string, queries []string) string {
	runes := []rune(query)
	if len(runes) == 0 {
		return pieces[dice.Intn(len(pieces))]
	}
	at := dice.Intn(len(runes))
	until := min(len(runes), at+1+dice.Intn(4))
	switch dice.Intn(4) {
	case 0:
		return string(runes[:at]) + string(runes[until:])
	case 1:
		return string(runes[:at]) + " " + pieces[dice.Intn(len(pieces))] + " " + string(runes[at:])
	case 2:
		return string(runes[:at]) + pieces[dice.Intn(len(pieces))] + string(runes[until:])
	default:
		other := []rune(queries[dice.Intn(len(queries))])
		return string(runes[:at]) + string(other[dice.Intn(len(other)+1):])
	}
}
