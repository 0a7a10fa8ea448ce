// Renders a Helm chart the way `helm template` does, as far as the chart in deploy/chart needs it, for machines without Helm: defaults, values
// laid over them, the schema of the values, templates with sprig and Helm's own functions. Takes cases as JSON on standard input and gives the
// rendered files, or why there are none, as JSON on standard output.
//
// Built without modules or a network, from Debian's packages: see scripts/chart/render.ts.
// Source: Helm's documentation of templates, values files and schema files ("Chart Template Guide", "Charts"); v3.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"github.com/xeipuuv/gojsonschema"
	"sigs.k8s.io/yaml"
)

type object = map[string]interface{}

// One rendering: an installation under a name, with values over those of the chart.
type request struct {
	Release   string `json:"release"`
	Namespace string `json:"namespace"`
	// Of the cluster, as in v1.30.0.
	KubeVersion string `json:"kubeVersion"`
	Values      object `json:"values"`
}

type answer struct {
	// Rendered templates by their paths within the chart, without those that are for others to include.
	Files map[string]string `json:"files,omitempty"`
	Error string            `json:"error,omitempty"`
}

type chart struct {
	directory string
	meta      object
	values    []byte
	schema    []byte
	templates map[string]string
}

// files is what a template sees as .Files.
type files struct{ directory string }

func (f files) Get(name string) string {
	text, err := os.ReadFile(filepath.Join(f.directory, filepath.Clean("/"+name)))
	if err != nil {
		return ""
	}
	return string(text)
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: render CHART < CASES.json")
		os.Exit(2)
	}
	var requests []request
	loaded, err := load(os.Args[1])
	if err == nil {
		err = json.NewDecoder(os.Stdin).Decode(&requests)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	answers := make([]answer, 0, len(requests))
	for _, asked := range requests {
		rendered, err := loaded.render(asked)
		if err != nil {
			answers = append(answers, answer{Error: err.Error()})
		} else {
			answers = append(answers, answer{Files: rendered})
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func load(directory string) (*chart, error) {
	loaded := &chart{directory: directory, templates: map[string]string{}}
	text, err := os.ReadFile(filepath.Join(directory, "Chart.yaml"))
	if err != nil {
		return nil, err
	}
	var raw object
	if err := yaml.Unmarshal(text, &raw); err != nil {
		return nil, fmt.Errorf("Chart.yaml: %w", err)
	}
	// A template sees the fields of Helm's structure: appVersion as .Chart.AppVersion.
	loaded.meta = object{}
	for key, value := range raw {
		loaded.meta[strings.ToUpper(key[:1])+key[1:]] = value
	}
	if loaded.values, err = os.ReadFile(filepath.Join(directory, "values.yaml")); err != nil {
		return nil, err
	}
	if loaded.schema, err = os.ReadFile(filepath.Join(directory, "values.schema.json")); err != nil {
		return nil, err
	}
	names, err := filepath.Glob(filepath.Join(directory, "templates", "*"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		loaded.templates["templates/"+filepath.Base(name)] = string(text)
	}
	return loaded, nil
}

func (c *chart) render(asked request) (map[string]string, error) {
	values := object{}
	if err := yaml.Unmarshal(c.values, &values); err != nil {
		return nil, fmt.Errorf("values.yaml: %w", err)
	}
	lay(values, asked.Values)
	if err := c.check(values); err != nil {
		return nil, err
	}
	// As Helm has it; that templates ask for no value that there is not, a test sees to.
	all := template.New("chart").Option("missingkey=zero")
	all.Funcs(functions(all))
	names := make([]string, 0, len(c.templates))
	for name, text := range c.templates {
		if _, err := all.New(name).Parse(text); err != nil {
			return nil, err
		}
		if !strings.HasPrefix(filepath.Base(name), "_") {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	top := object{
		"Values":       values,
		"Chart":        c.meta,
		"Files":        files{c.directory},
		"Release":      object{"Name": asked.Release, "Namespace": asked.Namespace, "Service": "Helm", "IsInstall": true, "IsUpgrade": false, "Revision": 1},
		"Capabilities": object{"KubeVersion": object{"Version": asked.KubeVersion}},
	}
	rendered := map[string]string{}
	for _, name := range names {
		top["Template"] = object{"Name": name, "BasePath": "templates"}
		var text bytes.Buffer
		if err := all.ExecuteTemplate(&text, name, top); err != nil {
			return nil, plain(err)
		}
		// As Helm does: text/template prints this for what is not there, whatever the option says.
		rendered[name] = strings.ReplaceAll(text.String(), "<no value>", "")
	}
	return rendered, nil
}

// lay puts values over those of a chart: mappings are merged, anything else is replaced, and null takes a key away.
func lay(below, above object) {
	for key, value := range above {
		if value == nil {
			delete(below, key)
			continue
		}
		upper, isMapping := value.(object)
		lower, wasMapping := below[key].(object)
		if isMapping && wasMapping {
			lay(lower, upper)
		} else {
			below[key] = value
		}
	}
}

// check holds values to the schema, with the library and in the words of Helm.
func (c *chart) check(values object) error {
	text, err := json.Marshal(values)
	if err != nil {
		return err
	}
	result, err := gojsonschema.Validate(gojsonschema.NewBytesLoader(c.schema), gojsonschema.NewBytesLoader(text))
	if err != nil {
		return fmt.Errorf("values.schema.json: %w", err)
	}
	if result.Valid() {
		return nil
	}
	lines := []string{"values don't meet the specifications of the schema(s) in the following chart(s):", fmt.Sprintf("%v:", c.meta["Name"])}
	for _, problem := range result.Errors() {
		lines = append(lines, "- "+problem.String())
	}
	return errors.New(strings.Join(lines, "\n"))
}

func functions(all *template.Template) template.FuncMap {
	table := sprig.TxtFuncMap()
	// Helm has neither: a chart must not see the environment.
	delete(table, "env")
	delete(table, "expandenv")
	table["include"] = func(name string, data interface{}) (string, error) {
		var text bytes.Buffer
		err := all.ExecuteTemplate(&text, name, data)
		return text.String(), err
	}
	table["required"] = func(message string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return nil, errors.New(message)
		}
		return value, nil
	}
	table["toYaml"] = func(value interface{}) string {
		text, err := yaml.Marshal(value)
		if err != nil {
			return ""
		}
		return strings.TrimSuffix(string(text), "\n")
	}
	table["fromYaml"] = func(text string) object {
		value := object{}
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			value["Error"] = err.Error()
		}
		return value
	}
	table["toJson"] = func(value interface{}) string {
		text, err := json.Marshal(value)
		if err != nil {
			return ""
		}
		return string(text)
	}
	table["fromJson"] = func(text string) object {
		value := object{}
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			value["Error"] = err.Error()
		}
		return value
	}
	return table
}

// Of an error within templates within templates, what people need: the first place, and the reason.
var nested = regexp.MustCompile(`(?s)^(template: \S+?: ).*error calling (?:fail|required): (.*)$`)

func plain(err error) error {
	if parts := nested.FindStringSubmatch(err.Error()); parts != nil {
		return errors.New(strings.TrimSuffix(parts[1], " ") + parts[2])
	}
	return err
}
