package expr

import (
	"math"
	"strconv"
	"strings"

	"signalbox/engine/column"
)

// earthRadius is the mean radius of the Earth in metres (IUGG).
const earthRadius = 6371008.8

// geoFunctions are ours: geofences on latitude and longitude in degrees (WGS 84).
func geoFunctions() []function {
	dist := fn("geo_distance", "double double double double", "double", "Great-circle distance in metres between (lat1, lon1) and (lat2, lon2) in degrees, on a sphere of radius 6,371,008.8 m; NULL outside the globe.",
		"round(geo_distance(60.1699, 24.9384, 60.1708, 24.9375), 0)", "112.0", evalGeoDistance)
	dist.params, dist.beyond = "lat1, lon1, lat2, lon2", true
	within := bound("geo_within", "lat, lon, 'POLYGON((lon lat, …))'", "True when a point is in a polygon (WKT: longitude before latitude; POLYGON with holes, or MULTIPOLYGON). Edges are straight in degrees; a point on the western or southern edge is inside.",
		"geo_within(60.17, 24.94, 'POLYGON((24.9 60.1, 25.0 60.1, 25.0 60.2, 24.9 60.2, 24.9 60.1))')", "true", bindGeoWithin)
	within.beyond = true
	return []function{dist, within}
}

func onGlobe(lat, lon float64) bool { return math.Abs(lat) <= 90 && math.Abs(lon) <= 180 }

func evalGeoDistance(a []column.Datum) (column.Datum, *Error) {
	if !onGlobe(a[0].F, a[1].F) || !onGlobe(a[2].F, a[3].F) {
		return column.NullDatum, nil
	}
	rad := math.Pi / 180
	lat1, lat2 := a[0].F*rad, a[2].F*rad
	sinLat, sinLon := math.Sin((lat2-lat1)/2), math.Sin((a[3].F-a[1].F)*rad/2)
	h := float64(sinLat*sinLat) + float64(math.Cos(lat1)*math.Cos(lat2))*float64(sinLon*sinLon)
	return column.F64(2 * earthRadius * math.Asin(math.Sqrt(min(h, 1)))), nil
}

type geoPoint struct{ x, y float64 }

// geoRings are the closed rings of a polygon; a point is inside when it is inside an odd number of them.
type geoRings [][]geoPoint

// maxVertices bounds a polygon.
const maxVertices = 10000

// parseWKT reads POLYGON((x y, …), …) and MULTIPOLYGON(((x y, …)), …).
func parseWKT(s string) (geoRings, bool) {
	s = strings.ToUpper(strings.TrimSpace(s))
	depth := 2
	body, ok := strings.CutPrefix(s, "POLYGON")
	if !ok {
		if body, ok = strings.CutPrefix(s, "MULTIPOLYGON"); !ok {
			return nil, false
		}
		depth = 3
	}
	var out geoRings
	var at, vertices int
	start := -1
	body = strings.TrimSpace(body)
	for i := range len(body) {
		switch body[i] {
		case '(':
			if at++; at > depth {
				return nil, false
			}
			start = i + 1
		case ')':
			if at == depth {
				ring, ok := parseRing(body[start:i])
				if vertices += len(ring); !ok || vertices > maxVertices {
					return nil, false
				}
				out = append(out, ring)
			}
			if at--; at < 0 {
				return nil, false
			}
		default:
			if at < depth && strings.IndexByte(" ,\t\n\r", body[i]) < 0 {
				return nil, false
			}
		}
	}
	return out, at == 0 && len(out) > 0
}

func parseRing(s string) ([]geoPoint, bool) {
	var ring []geoPoint
	for _, pair := range strings.Split(s, ",") {
		f := strings.Fields(pair)
		if len(f) != 2 {
			return nil, false
		}
		x, err1 := strconv.ParseFloat(f[0], 64)
		y, err2 := strconv.ParseFloat(f[1], 64)
		if err1 != nil || err2 != nil || !onGlobe(y, x) {
			return nil, false
		}
		ring = append(ring, geoPoint{x, y})
	}
	return ring, len(ring) >= 4 && ring[0] == ring[len(ring)-1]
}

// contains counts the edges east of the point.
func (g geoRings) contains(p geoPoint) bool {
	in := false
	for _, ring := range g {
		for i := 1; i < len(ring); i++ {
			a, b := ring[i-1], ring[i]
			if (a.y > p.y) == (b.y > p.y) {
				continue
			}
			x := a.x + float64((b.x-a.x)*(p.y-a.y))/(b.y-a.y)
			if p.x < x {
				in = !in
			}
		}
	}
	return in
}

func errWKT(s string) *Error {
	return runtimeErr("INVALID_PARAMETER_VALUE.WKT", "22023", "geo_within: %q is no polygon of at most %d points; write 'POLYGON((lon lat, lon lat, …))' with the first point again at the end", clip(s), maxVertices)
}

func bindGeoWithin(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "double double str", args)
	if err != nil {
		return nil, err
	}
	var fixed geoRings
	if d, ok := Constant(Fold(b[2])); ok && !d.Null {
		if fixed, ok = parseWKT(d.S); !ok {
			e := errWKT(d.S)
			e.Phase = Analysis
			return nil, e
		}
	}
	return typed(name, b, column.Of(column.Boolean), func(a []column.Datum) (column.Datum, *Error) {
		g := fixed
		if g == nil {
			var ok bool
			if g, ok = parseWKT(a[2].S); !ok {
				return column.NullDatum, errWKT(a[2].S)
			}
		}
		if !onGlobe(a[0].F, a[1].F) {
			return column.NullDatum, nil
		}
		return column.Bool(g.contains(geoPoint{a[1].F, a[0].F})), nil
	}), nil
}
