package knarr

import "context"

// Checkpoint makes what there is now what Reset goes back to. Objects in memory
// only.
func (s *Server) Checkpoint(ctx context.Context) error {
	mark, err := s.state.Mark(ctx)
	if err != nil {
		return err
	}
	s.mark.Store(mark)
	return nil
}

// Reset makes the objects of the server what they were at the last Checkpoint or,
// if there was none, when Start returned; it takes less than a millisecond. What
// was defined since is no longer served. Watches end, and revisions go on: what is
// asked for at one from before has expired (410), so that clients list anew.
// Requests that run meanwhile are made before or after, or conflict. What the
// server does by itself begins again.
//
// It is for servers that keep their objects in memory, not encrypted; of others it
// is an error.
func (s *Server) Reset(ctx context.Context) error {
	mark := s.mark.Load()
	if mark == nil {
		_, err := s.state.Mark(ctx) // which says why there is none
		return err
	}
	if err := s.state.Rewind(ctx, mark); err != nil {
		return err
	}
	s.definitions.Begin(context.WithoutCancel(ctx))
	return nil
}
