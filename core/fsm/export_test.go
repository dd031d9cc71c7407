package fsm

// Plants damage a machine as a bug would; the bug museum expects the tests to notice.

// PlantCursorsForgotten is a snapshot without the agents' cursors.
func PlantCursorsForgotten(m *Machine) {
	for _, a := range m.st.order {
		a.applied, a.hashes = 0, nil
	}
}

// PlantHashesForgotten is a snapshot without the hashes of the last batches.
func PlantHashesForgotten(m *Machine) {
	for _, a := range m.st.order {
		a.hashes, a.prevHashes = nil, nil
	}
}

// PlantCertificatesForgotten is a snapshot without what agents certified.
func PlantCertificatesForgotten(m *Machine) {
	for _, a := range m.st.order {
		a.pending, a.fronts = nil, nil
	}
}

// PlantUploadsForgotten is a snapshot without static tables on their way in.
func PlantUploadsForgotten(m *Machine) { m.st.uploads = nil }

// PlantOffByOne is a cursor that stays one behind, without its proof.
func PlantOffByOne(m *Machine) {
	for _, a := range m.st.order {
		if a.applied > 0 {
			a.applied, a.hashes = a.applied-1, a.hashes[:len(a.hashes)-1]
		}
	}
}

// PlantMaximum makes everybody certify what the furthest agent certified: the watermark is the maximum, not the minimum.
func PlantMaximum(m *Machine) {
	for _, a := range m.st.order {
		for i := range a.fronts {
			for _, b := range m.st.order {
				for _, f := range b.fronts {
					if f.stream == a.fronts[i].stream {
						a.fronts[i].low = max(a.fronts[i].low, f.low)
					}
				}
			}
			m.st.streams[a.fronts[i].stream].dirty = true
		}
	}
}
