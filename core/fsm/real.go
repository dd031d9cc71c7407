package fsm

import (
	"errors"
	"io"

	"signalbox/engine"
	"signalbox/engine/alert"
)

// RealEngine makes engines of package engine. Options decide results: equal on all nodes.
type RealEngine struct{ Options engine.Options }

// New implements EngineFactory.
func (f RealEngine) New(system []engine.SystemTable) Engine {
	opt := f.Options
	opt.System = system
	return realEngine{engine.New(opt)}
}

// Restore implements EngineFactory.
func (f RealEngine) Restore(r io.Reader, system []engine.SystemTable) (Engine, error) {
	opt := f.Options
	opt.System = system
	e, err := engine.Restore(r, opt)
	if err != nil {
		return nil, err
	}
	return realEngine{e}, nil
}

type realEngine struct{ *engine.Engine }

func (e realEngine) Snapshot() (EngineSnapshot, error) { return e.Engine.Snapshot() }

// SetRules reads all rule files together.
func (e realEngine) SetRules(files []Document) error {
	var all []alert.Rule
	var errs []error
	for _, f := range files {
		rules, bad := alert.ParseRules([]byte(f.Text), f.Name)
		all = append(all, rules...)
		errs = append(errs, bad...)
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return e.Engine.SetRules(all)
}
