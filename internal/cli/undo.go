package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// undoManager is whom an object says that an undo was written by.
const undoManager = "knarr-undo"

func newUndo() *cobra.Command {
	var n named
	var to uint64
	cmd := &cobra.Command{
		Use:     "undo KIND NAME",
		GroupID: clients,
		Short:   "Write an object as it was before",
		Long: `Write an object as it was before its last change or, with --to-revision, as it was at
that revision. One that has been deleted is created again. It is a write like any
other: it is a new revision, admission and validation see it, and knarr history shows
it. What is written through /status stays as it is.

An object that is being deleted, and waits for its finalizers, is not brought back:
nobody can reverse that. Once it is gone it can be created again.`,
		Args: func(_ *cobra.Command, args []string) error { return namesOne("knarr undo", args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := n.find(args); err != nil {
				return err
			}
			h, err := n.history(cmd.Context())
			if err != nil {
				return err
			}
			target, err := h.undoTo(to)
			if err != nil {
				return fmt.Errorf("%s: %w", &n, err)
			}
			result, err := n.undo(cmd.Context(), h, target)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s, as it was at revision %s\n", &n, result, target.ResourceVersion)
			return err
		},
	}
	n.addTo(cmd)
	cmd.Flags().Uint64Var(&to, "to-revision", 0, "the revision to go back to (default the one before the last)")
	return cmd
}

// undoTo finds the revision to write again; 0 stands for the one before the last.
func (h *objectHistory) undoTo(to uint64) (*objectRevision, error) {
	last := len(h.Items) - 1
	i := last - 1
	switch {
	case to == 0 && h.Items[last].deleted():
		return &h.Items[last], nil // which has what was deleted
	case to == 0 && i < 0, to != 0 && to < h.Items[0].rev():
		return nil, fmt.Errorf("the history does not go back far enough: it begins at revision %s, and the object's at %s", h.Since, h.Items[0].ResourceVersion)
	case to != 0:
		for i = last; h.Items[i].rev() > to; {
			i--
		}
	}
	if h.Items[i].deleted() {
		if i == last {
			return &h.Items[i], nil
		}
		return nil, fmt.Errorf("there was no such object at revision %s; kubectl delete removes it, --to-revision %d brings back what it was before", h.Items[i].ResourceVersion, h.Items[i].rev()-1)
	}
	if i == last {
		return nil, fmt.Errorf("it is what it was at revision %s", strconv.FormatUint(to, 10))
	}
	return &h.Items[i], nil
}

// undo writes what an object was, on condition that it is still what h ends with.
func (n *named) undo(ctx context.Context, h *objectHistory, target *objectRevision) (result string, err error) {
	u := target.without("metadata.managedFields", "metadata.deletionTimestamp", "metadata.deletionGracePeriodSeconds", "metadata.resourceVersion", "metadata.uid")
	last := &h.Items[len(h.Items)-1]
	if last.deleted() {
		for _, field := range []string{"creationTimestamp", "generation", "selfLink"} {
			unstructured.RemoveNestedField(u.Object, "metadata", field)
		}
		body, err := json.Marshal(u.Object)
		if err != nil {
			return "", err
		}
		return "created again", n.request(n.client.Post()).Param("fieldManager", undoManager).Body(body).Do(ctx).Error()
	}
	now := unstructured.Unstructured{Object: last.Object}
	if now.GetDeletionTimestamp() != nil {
		return "", fmt.Errorf("%s is being deleted since %s, which cannot be reversed; when it is gone, knarr undo creates it again", n, now.GetDeletionTimestamp().UTC().Format("15:04:05"))
	}
	u.SetResourceVersion(last.ResourceVersion)
	u.SetUID(now.GetUID())
	u.SetCreationTimestamp(now.GetCreationTimestamp())
	body, err := json.Marshal(u.Object)
	if err != nil {
		return "", err
	}
	return "undone", n.request(n.client.Put()).Name(n.name).Param("fieldManager", undoManager).Body(body).Do(ctx).Error()
}
