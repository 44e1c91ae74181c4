package matrix

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/catamaran-io/catamaran/integration/internal/harness"
	"github.com/catamaran-io/catamaran/integration/kafkatest"
)

// tool is one call of one of Kafka's command-line tools.
type tool struct {
	name  string // of the script that people know
	class string
	args  string // words; B is the bootstrap address, F a file with input as its content
	input string
	// sorted: the order of the lines says nothing.
	sorted bool
	// only keeps the lines that contain it, if not empty.
	only string
}

const toolTopic, toolRecords = "tools", 30

// toolStory is what an operator does. What the tools print must not depend on
// whether the sidecar stands between, nor on a switchover after the step that
// says so.
func toolStory() []tool {
	const (
		topics  = "org.apache.kafka.tools.TopicCommand"
		offsets = "org.apache.kafka.tools.GetOffsetShell"
		groups  = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
		consume = "org.apache.kafka.tools.consumer.ConsoleConsumer"
		configs = "kafka.admin.ConfigCommand"
	)
	var lines strings.Builder
	for i := range toolRecords {
		fmt.Fprintf(&lines, "k%d:tool-%d\n", i%7, i)
	}
	reset := func(to string) tool {
		return tool{name: "reset-offsets " + to, class: groups, args: "--bootstrap-server B --group tool-group --reset-offsets --topic tools --execute " + to, sorted: true}
	}
	describe := tool{name: "consumer-groups --describe", class: groups, args: "--bootstrap-server B --describe --group tool-group", sorted: true}
	return []tool{
		{name: "topics --create", class: topics, args: "--bootstrap-server B --create --topic tools --partitions 3 --replication-factor 1 --config retention.ms=86400000"},
		{name: "topics --list", class: topics, args: "--bootstrap-server B --list --exclude-internal"},
		{name: "topics --describe", class: topics, args: "--bootstrap-server B --describe --topic tools"},
		{name: "console-producer", class: "org.apache.kafka.tools.ConsoleProducer", args: "--bootstrap-server B --topic tools --reader-property parse.key=true --reader-property key.separator=:", input: lines.String()},
		{name: "console-consumer", class: consume, args: fmt.Sprintf("--bootstrap-server B --topic tools --group tool-group --from-beginning --max-messages %d --timeout-ms 30000 --formatter-property print.offset=true --formatter-property print.partition=true", toolRecords), sorted: true},
		describe,
		{name: "configs --describe", class: configs, args: "--bootstrap-server B --describe --entity-type topics --entity-name tools"},
		{name: switchHere},
		{name: "get-offsets", class: offsets, args: "--bootstrap-server B --topic tools", sorted: true},
		{name: "get-offsets --time -2", class: offsets, args: "--bootstrap-server B --topic tools --time -2", sorted: true},
		{name: "get-offsets --time 0", class: offsets, args: "--bootstrap-server B --topic tools --time 0", sorted: true},
		{name: "consumer-groups --list", class: groups, args: "--bootstrap-server B --list", sorted: true},
		describe,
		reset("--to-earliest"),
		reset("--shift-by 2"),
		reset("--to-datetime 2020-01-01T00:00:00.000"),
		{name: "console-consumer again", class: consume, args: fmt.Sprintf("--bootstrap-server B --topic tools --group tool-group --max-messages %d --timeout-ms 30000 --formatter-property print.offset=true", toolRecords), sorted: true},
		// The standby's topics have everything set that its own defaults could
		// change: only what was set by hand must be the same.
		{name: "configs --describe", class: configs, args: "--bootstrap-server B --describe --entity-type topics --entity-name tools", only: " retention.ms="},
		// Behind the switchover: a standby does not follow deletions.
		{name: "delete-records", class: "org.apache.kafka.tools.DeleteRecordsCommand", args: "--bootstrap-server B --offset-json-file F", input: `{"partitions":[{"topic":"tools","partition":1,"offset":2}],"version":1}`},
		{name: "get-offsets --time earliest", class: offsets, args: "--bootstrap-server B --topic tools --time earliest", sorted: true},
		{name: "consumer-groups --delete", class: groups, args: "--bootstrap-server B --delete --group tool-group"},
		{name: "topics --delete", class: topics, args: "--bootstrap-server B --delete --topic tools"},
	}
}

// switchHere is the step at which the sidecar's side switches over.
const switchHere = "(switchover)"

// normalise removes what may differ: addresses, ids of clusters' own making, and
// the widths of columns. Through the sidecar replicas are virtual nodes.

var normalise = []struct{ pattern, with string }{
	{`127\.0\.0\.1:\d+`, "ADDR"},
	{`TopicId: \S+`, "TopicId: ID"},
	{`(Leader|Replicas|Isr): \d+`, "$1: N"},
	// The tool asks DescribeTopicPartitions where it is served; Metadata does
	// not tell of eligible leaders.
	{`\s*(Last Known|LastKnown)?Elr:( N/A)?`, ""},
	{`[ \t]+`, " "},
	{` \n`, "\n"},
}

// run runs the tool and gives what it printed, made comparable.
func (c tool) run(ctx context.Context, jars, bootstrap, dir string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	var stdin bytes.Buffer
	words := []string{"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", filepath.Join(jars, "*"), c.class}
	for _, word := range strings.Fields(c.args) {
		switch word {
		case "B":
			word = bootstrap
		case "F":
			word = filepath.Join(dir, "input.json")
			if err := os.WriteFile(word, []byte(c.input), 0o644); err != nil {
				return "", err
			}
		}
		words = append(words, word)
	}
	stdin.WriteString(c.input)
	cmd := exec.CommandContext(ctx, "java", words...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &stdin, &stdout, &stderr
	p, err := harness.StartProcess(cmd, "")
	if err == nil {
		err = p.Err()
	}
	said := stdout.String()
	if err != nil {
		return "", fmt.Errorf("%w: %s\n%s", err, said, stderr.String())
	}
	for _, n := range normalise {
		said = regexp.MustCompile(n.pattern).ReplaceAllString(said, n.with)
	}
	said = strings.TrimSpace(said)
	all := slices.DeleteFunc(strings.Split(said, "\n"), func(line string) bool { return !strings.Contains(line, c.only) })
	if c.sorted {
		slices.Sort(all)
	}
	return strings.TrimSpace(strings.Join(all, "\n")), nil
}

// TestKafkasToolsPrintTheSameAcrossASwitchover runs Kafka's own tools.
func TestKafkasToolsPrintTheSameAcrossASwitchover(t *testing.T) {
	harness.SkipIfShort(t, "real Kafka and its command-line tools")
	if !everything() {
		t.Skipf("NOT RUN: Kafka's command-line tools (40 JVMs, a minute); make matrix runs them")
	}
	jars, err := kafkatest.Fetch()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, true, "mode: manual")
	w.awaitReady(t, "east", 0)
	steps := toolStory()
	tellTools := func(bootstrap string, switchover func()) []string {
		dir, said := t.TempDir(), make([]string, len(steps))
		for i, step := range steps {
			if step.name == switchHere {
				switchover()
				continue
			}
			var err error
			if said[i], err = step.run(t.Context(), jars, bootstrap, dir); err != nil {
				said[i] = "! " + err.Error()
			}
		}
		return said
	}
	var direct, through []string
	var both sync.WaitGroup
	both.Go(func() { direct = tellTools(w.solo.Bootstrap()[0], func() {}) })
	both.Go(func() {
		through = tellTools(w.bootstrap, func() {
			w.awaitReady(t, "east", partitions)
			w.switchover(t, "west")
		})
	})
	both.Wait()
	var table strings.Builder
	for i, step := range steps {
		verdict := "ok"
		switch {
		case strings.HasPrefix(direct[i], "! "):
			verdict = "DIRECT"
			t.Errorf("%s %s: fails against Kafka itself: %s", step.name, step.args, direct[i])
		case strings.HasPrefix(through[i], "! "):
			verdict = "FAIL"
			t.Errorf("%s %s: through the sidecar: %s", step.name, step.args, through[i])
		case through[i] != direct[i]:
			verdict = "DIFF"
			t.Errorf("%s %s: through the sidecar\n%s\ndirectly\n%s", step.name, step.args, through[i], direct[i])
		}
		fmt.Fprintf(&table, "  %-45s %s\n", step.name, verdict)
	}
	t.Logf("Kafka %s's tools, directly and through the sidecar with a switchover:\n%s", kafkatest.Version, table.String())
	if want := strconv.Itoa(toolRecords); !strings.Contains(through[4], "tool-29") {
		t.Errorf("the console consumer did not read %s records:\n%s", want, through[4])
	}
}
