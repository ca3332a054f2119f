package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pmezard/go-difflib/difflib"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

func newHistory() *cobra.Command {
	var n named
	var output string
	cmd := &cobra.Command{
		Use:     "history KIND NAME",
		GroupID: clients,
		Short:   "Show what became of an object: when, by whom, and what changed",
		Long: `Show the revisions of an object that the server's history holds, oldest first: when
each was written, by which field manager, and how it differs from the one before.
The history goes back as far as --history-retention and --history-bytes of the server
let it. Of an object that is gone its last days are shown.

Fields that say no more than that there was a change are left out: managedFields and
resourceVersion. With -o json it is what the server answers, which is knarr's own:
GET <object>?knarrHistory=true.`,
		Args: func(_ *cobra.Command, args []string) error { return namesOne("knarr history", args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "" && output != "json" {
				return fmt.Errorf("--output can be json, or left out, but not %q", output)
			}
			if err := n.find(args); err != nil {
				return err
			}
			if output == "json" {
				answer, err := n.raw(cmd.Context())
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(append(bytes.TrimSpace(answer), '\n'))
				return err
			}
			h, err := n.history(cmd.Context())
			if err != nil {
				return err
			}
			return printHistory(cmd.OutOrStdout(), h)
		},
	}
	n.addTo(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "json for what the server answers")
	return cmd
}

// namesOne refuses arguments that do not name one object.
func namesOne(command string, args []string) error {
	if len(args) == 2 || len(args) == 1 && strings.Contains(args[0], "/") {
		return nil
	}
	return fmt.Errorf("%s needs one object: %s KIND NAME", command, command)
}

// headOf is the line that a revision begins with.
func headOf(r *objectRevision) string {
	line := "revision " + r.ResourceVersion
	if r.Time != nil {
		line += "  " + r.Time.UTC().Format(time.RFC3339)
	}
	switch r.Change {
	case "Present":
		return line + "  as it was when the history begins"
	case "Delete":
		return line + "  deleted"
	case "Create":
		line += "  created"
	default:
		line += "  updated"
	}
	var by []string
	for _, m := range r.By {
		who := m.Manager
		if m.Operation == "Apply" {
			who += " (apply)"
		}
		if m.Subresource != "" {
			who += " (" + m.Subresource + ")"
		}
		by = append(by, who)
	}
	if len(by) > 0 {
		line += " by " + strings.Join(by, ", ")
	}
	return line
}

func printHistory(w io.Writer, h *objectHistory) error {
	var before []string
	for i := range h.Items {
		r := &h.Items[i]
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, headOf(r))
		if r.deleted() {
			before = nil
			continue
		}
		text, err := yaml.Marshal(r.without("metadata.managedFields", "metadata.resourceVersion").Object)
		if err != nil {
			return err
		}
		now := difflib.SplitLines(strings.TrimSuffix(string(text), "\n"))
		if r.Change != "Present" {
			d := difflib.UnifiedDiff{A: before, B: now, Context: 3}
			if before == nil {
				d.A = []string{}
			}
			if err := difflib.WriteUnifiedDiff(w, d); err != nil {
				return err
			}
		}
		before = now
	}
	return nil
}
