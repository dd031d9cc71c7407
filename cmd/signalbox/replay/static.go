package replay

import (
	"fmt"
	"os"
	"sort"
	"strings"

	"signalbox/engine"
	"signalbox/engine/column"
	"signalbox/engine/static"
)

// loadTables fills the static tables from their files.
func (r *run) loadTables() error {
	r.static = map[string]*column.Batch{}
	names := make([]string, 0, len(r.opt.Tables))
	for name := range r.opt.Tables {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if err := r.loadTable(name, r.opt.Tables[name]); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) loadTable(name, file string) error {
	info, err := r.table(name)
	if err != nil || info.Kind != engine.KindStatic {
		return fmt.Errorf("--table %s=%s: no such static table; declare it with CREATE TABLE %s (…) in the schema", name, file, name)
	}
	format, err := static.FormatOf(file)
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	rows, err := static.Read(f, format, info.Schema)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	r.static[strings.ToLower(info.Name)] = rows
	return r.eng.LoadTable(info.Name, 1, rows)
}
