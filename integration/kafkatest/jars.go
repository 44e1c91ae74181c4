package kafkatest

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/catamaran-io/catamaran/integration/internal/harness"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Version is the Apache Kafka that runs; pom.xml names the same.
const Version = "4.3.0"

//go:embed pom.xml
var pom []byte

//go:embed log4j2.xml
var log4j []byte

// A distribution is a cache directory that brokers run from:
//
//	jars/                 what pom.xml names, and what that depends on
//	log4j2.xml
//	bootstrap.checkpoint  the features of a new cluster; with meta.properties it is a formatted storage directory
//	classes.jsa           class archive (optional: brokers start without it, slower)
type distribution struct {
	dir       string
	classPath string // relative to dir; the class archive is valid for exactly this string
}

// Fetch makes sure that the jars are in the cache, and returns the directory that holds them. Start calls it; call
// it yourself to have the download done beforehand or to run another of Kafka's tools.
func Fetch() (jarDir string, err error) {
	d, err := fetch()
	if err != nil {
		return "", err
	}
	return filepath.Join(d.dir, "jars"), nil
}

func fetch() (distribution, error) {
	key := harness.Hash(map[string][]byte{"pom.xml": pom, "log4j2.xml": log4j})
	dir, err := harness.Cached("kafka-"+Version+"-"+key, buildDistribution)
	if err != nil {
		return distribution{}, fmt.Errorf("kafkatest: Kafka %s: %w", Version, err)
	}
	return openDistribution(dir)
}

func openDistribution(dir string) (distribution, error) {
	jars, err := filepath.Glob(filepath.Join(dir, "jars", "*.jar")) // sorted
	if err != nil || len(jars) == 0 {
		return distribution{}, fmt.Errorf("no jars in %s: delete that directory to fetch them again", dir)
	}
	for i, jar := range jars {
		jars[i] = filepath.Join("jars", filepath.Base(jar))
	}
	return distribution{dir: dir, classPath: strings.Join(jars, string(os.PathListSeparator))}, nil
}

func buildDistribution(dir string) error {
	for _, tool := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not installed: real brokers need Java 17 or newer and, the first time, Maven", tool)
		}
	}
	for name, content := range map[string][]byte{"pom.xml": pom, "log4j2.xml": log4j} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	mvn := exec.Command("mvn", "-q", "-B", "-f", filepath.Join(dir, "pom.xml"),
		"dependency:copy-dependencies", "-DoutputDirectory="+filepath.Join(dir, "jars"))
	if err := runTool(mvn); err != nil {
		return fmt.Errorf("%w\nfetching the jars needs a Maven that reaches its repository (mirror and proxy: ~/.m2/settings.xml)", err)
	}
	d, err := openDistribution(dir)
	if err != nil {
		return err
	}
	if err := d.makeCheckpoint(); err != nil {
		return err
	}
	if err := d.makeClassArchive(); err != nil {
		os.Remove(filepath.Join(dir, "classes.jsa")) // an accelerator only
	}
	return nil
}

// makeCheckpoint formats a storage directory the official way, once, and keeps the part of it that is the same for
// every new cluster. That saves every later start a JVM.
func (d distribution) makeCheckpoint() error {
	scratch, err := os.MkdirTemp("", "kafkatest-format-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	config := filepath.Join(scratch, "server.properties")
	data := filepath.Join(scratch, "data")
	if err := os.WriteFile(config, renderProperties(map[string]string{
		"process.roles":             "broker,controller",
		"node.id":                   "1",
		"controller.quorum.voters":  "1@127.0.0.1:1",
		"controller.listener.names": "CONTROLLER",
		"listeners":                 "PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1",
		"log.dirs":                  data,
	}), 0o644); err != nil {
		return err
	}
	format := d.java(nil, "kafka.tools.StorageTool", "format", "--cluster-id", newUUID(), "--config", config)
	if err := runTool(format); err != nil {
		return err
	}
	checkpoint, err := os.ReadFile(filepath.Join(data, "bootstrap.checkpoint"))
	if err != nil {
		return fmt.Errorf("kafka.tools.StorageTool left no bootstrap.checkpoint: %w", err)
	}
	return os.WriteFile(filepath.Join(d.dir, "bootstrap.checkpoint"), checkpoint, 0o644)
}

// makeClassArchive runs one broker through what tests do first, and lets the JVM save the classes it loaded.
func (d distribution) makeClassArchive() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := startCluster(ctx, d, Config{Name: "archive", JVMArgs: []string{"-XX:ArchiveClassesAtExit=classes.jsa"}})
	if err != nil {
		return err
	}
	defer c.Close()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()...), kgo.ConsumeTopics("t"), kgo.ConsumerGroup("g"),
		kgo.AllowAutoTopicCreation(), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "t", 1, 1
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Topics = append(create.Topics, topic)
	if _, err := create.RequestWith(ctx, cl); err != nil {
		return err
	}
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr(); err != nil {
		return err
	}
	if err := cl.PollFetches(ctx).Err(); err != nil {
		return err
	}
	cl.Close() // leaves the group, or stopping the broker would take as long as the group's session
	if !c.Broker(1).proc.Stop(30 * time.Second) {
		return fmt.Errorf("the broker did not stop")
	}
	_, err = os.Stat(filepath.Join(d.dir, "classes.jsa"))
	return err
}

// java is a command that runs a class of the distribution, with flags for a process that is small and starts fast.
func (d distribution) java(jvmArgs []string, class string, args ...string) *exec.Cmd {
	line := []string{"-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
		"-Djava.awt.headless=true", "-Dlog4j2.configurationFile=log4j2.xml"}
	if _, err := os.Stat(filepath.Join(d.dir, "classes.jsa")); err == nil {
		line = append(line, "-XX:SharedArchiveFile=classes.jsa")
	}
	line = append(line, jvmArgs...)
	line = append(line, "-cp", d.classPath, class)
	cmd := exec.Command("java", append(line, args...)...)
	cmd.Dir = d.dir
	return cmd
}

// runTool runs cmd to its end and puts what it said into the error.
func runTool(cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := harness.StartProcess(cmd, "")
	if err != nil {
		return err
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args[:min(4, len(cmd.Args))], " "), err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}
