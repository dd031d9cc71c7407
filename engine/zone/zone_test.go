package zone_test

import (
	"archive/zip"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"signalbox/engine/zone"
)

// TestArchive compares every zone with what the library for zip files and package time say.
func TestArchive(t *testing.T) {
	z, err := zip.OpenReader("zoneinfo.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	n := 0
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		n++
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		want, err := time.LoadLocationFromTZData(f.Name, data)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := zone.Find(f.Name)
		if !ok {
			t.Errorf("%s: not found", f.Name)
			continue
		}
		for sec := int64(-4e9); sec < 4e9; sec += 8_640_001 {
			a, b := time.Unix(sec, 0).In(got), time.Unix(sec, 0).In(want)
			if a.String() != b.String() {
				t.Errorf("%s at %d: %v, want %v", f.Name, sec, a, b)
				break
			}
		}
	}
	if n < 500 || zone.Names() != n {
		t.Errorf("%d zones, the archive has %d", zone.Names(), n)
	}
}

// TestMachineDoesNotMatter: neither the environment nor the machine's files change an answer.
func TestMachineDoesNotMatter(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/Atlantis", []byte("TZif"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ZONEINFO", dir)
	t.Setenv("TZ", "America/New_York")
	for _, name := range []string{"Atlantis", "Local", "", "../Atlantis", "europe/helsinki", "Europe/"} {
		if _, ok := zone.Find(name); ok {
			t.Errorf("%q was found", name)
		}
	}
	loc, ok := zone.Find("Europe/Helsinki")
	if !ok {
		t.Fatal("Europe/Helsinki was not found")
	}
	if got := time.Unix(1_711_846_800, 0).In(loc).Format(time.RFC3339); got != "2024-03-31T04:00:00+03:00" {
		t.Errorf("the first second of summer time in Helsinki is %s", got)
	}
}
