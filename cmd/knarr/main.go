// Command knarr is a Kubernetes API server in one process, with kubectl built in.
package main

import (
	"os"

	"github.com/knarr-io/knarr/internal/cli"
)

func main() {
	os.Exit(cli.RunAs(os.Args, os.Stdin, os.Stdout, os.Stderr))
}
