// Command kwok is KWOK's controller with the stages of its own module built in, so that no stage file has to be found
// at run time: nodes become ready and renew their leases, pods run, jobs complete, deleted pods go.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"sigs.k8s.io/kwok/kustomize/stage/node/fast"
	heartbeat "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	pods "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	"sigs.k8s.io/kwok/pkg/config"
	"sigs.k8s.io/kwok/pkg/kwok/cmd"
	"sigs.k8s.io/kwok/pkg/log"
	"sigs.k8s.io/kwok/pkg/utils/signals"
)

// stages is what a cluster without further configuration does.
var stages = []string{
	fast.DefaultNodeInit,
	heartbeat.DefaultNodeHeartbeatWithLease,
	pods.DefaultPodReady,
	pods.DefaultPodComplete,
	pods.DefaultPodDelete,
}

// withStages puts the stages in front of the configuration named on the command line. KWOK reads configuration from
// files or standard input only, so they go into a file that is removed once it was read.
func withStages(arguments []string) (with []string, cleanup func(), err error) {
	file, err := os.CreateTemp("", "headrace-kwok-stages-*.yaml")
	if err != nil {
		return nil, nil, err
	}
	cleanup = func() { _ = os.Remove(file.Name()) }
	if _, err = file.WriteString(strings.Join(stages, "\n---\n")); err == nil {
		err = file.Close()
	}
	if err != nil {
		cleanup()
		return nil, nil, err
	}
	return append([]string{"--config=" + file.Name()}, arguments...), cleanup, nil
}

func run() error {
	arguments, cleanup, err := withStages(os.Args[1:])
	if err != nil {
		return fmt.Errorf("cannot write the built-in stages: %w", err)
	}
	os.Args = append(os.Args[:1:1], arguments...)

	flags := pflag.NewFlagSet("global", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.Usage = func() {}
	ctx := signals.SetupSignalContext()
	ctx, _ = log.InitFlags(ctx, flags)
	ctx, err = config.InitFlags(ctx, flags)
	cleanup()
	if err != nil {
		return err
	}
	command := cmd.NewCommand(ctx)
	command.PersistentFlags().AddFlagSet(flags)
	return command.ExecuteContext(ctx)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "kwok:", err)
		os.Exit(1)
	}
}
