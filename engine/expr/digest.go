package expr

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"math"
	"math/bits"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"signalbox/engine/column"
)

func digestFunctions() []function {
	return []function{
		fn("md5", "bin", "str", "MD5 in hexadecimal.", "md5('Spark')", "8cde774d6f7333752ed72cacddb05126", str1(func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) })).sure(),
		fn("sha sha1", "bin", "str", "SHA-1 in hexadecimal.", "sha1('Spark')", "85f5955f4b27a9a4c2aab6ffe5d7189fc298b92c", str1(func(s string) string { h := sha1.Sum([]byte(s)); return hex.EncodeToString(h[:]) })).sure(),
		fn("sha2", "bin int", "str", "SHA-224, 256, 384 or 512 in hexadecimal; 0 means 256.", "sha2('Spark', 256)", "529bc3b07127ecb7e53a4dcf1991d9152c24537d919178022b2c42657f79a26b", evalSHA2).sure(),
		fn("crc32", "bin", "bigint", "Cyclic redundancy check.", "crc32('Spark')", "1557323817", int1(func(s string) int { return int(crc32.ChecksumIEEE([]byte(s))) })).sure(),
		bound("hash", "a, b, ...", "Murmur3 hash of the arguments.", "hash('Spark', array(123), 2)", "-1321691492", bindHash),
		bound("xxhash64", "a, b, ...", "64-bit xxHash of the arguments.", "xxhash64('Spark', array(123), 2)", "5602566077635097486", bindHash),
		fn("base64", "bin", "str", "Base 64 of bytes.", "base64('Spark SQL')", "U3BhcmsgU1FM", str1(base64Lines)).sure(),
		fn("unbase64", "str", "bin", "Bytes of a base 64 text.", "CAST(unbase64('U3BhcmsgU1FM') AS STRING)", "Spark SQL", func(a []column.Datum) (column.Datum, *Error) {
			d, ok := decodeBase64(a[0].S)
			if !ok {
				return d, runtimeErr("CONVERSION_INVALID_INPUT", "22018", "unbase64: %q is not base 64; use try_to_binary", clip(a[0].S))
			}
			return d, nil
		}),
		fn("unhex", "str", "bin", "Bytes of a hexadecimal text; NULL when malformed.", "CAST(unhex('537061726B') AS STRING)", "Spark", func(a []column.Datum) (column.Datum, *Error) {
			return decodeHex(a[0].S), nil
		}).sure(),
		fn("encode", "str str", "bin", "Bytes of a text in a character set.", "hex(encode('abc', 'utf-8'))", "616263", func(a []column.Datum) (column.Datum, *Error) { return encodeText(a[0].S, a[1].S) }),
		bound("decode", "bytes, charset | x, key, value, ..., default?", "Text of bytes in a character set; or the value beside the key that equals x.", "decode(2, 1, 'a', 2, 'b', 'c')", "b", bindDecode),
		fn("to_binary", "str str?", "bin", "Bytes of a text in hex (default), base64 or utf-8.", "CAST(to_binary('abc', 'utf-8') AS STRING)", "abc", evalToBinary(false)),
		fn("try_to_binary", "str str?", "bin", "to_binary, NULL when malformed.", "try_to_binary('a!', 'base64')", "NULL", evalToBinary(true)),
	}
}

func evalSHA2(a []column.Datum) (column.Datum, *Error) {
	b := []byte(a[0].S)
	var sum []byte
	switch a[1].I {
	case 0, 256:
		h := sha256.Sum256(b)
		sum = h[:]
	case 224:
		h := sha256.Sum224(b)
		sum = h[:]
	case 384:
		h := sha512.Sum384(b)
		sum = h[:]
	case 512:
		h := sha512.Sum512(b)
		sum = h[:]
	default:
		return column.NullDatum, nil
	}
	return column.Str(hex.EncodeToString(sum)), nil
}

func encodeBase64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// base64Lines is Java's MIME encoder: lines of 76 characters.
func base64Lines(s string) string {
	const line = 76
	text := encodeBase64(s)
	if len(text) <= line {
		return text
	}
	var b strings.Builder
	for len(text) > line {
		b.WriteString(text[:line] + "\r\n")
		text = text[line:]
	}
	return b.String() + text
}

// decodeBase64 is Java's MIME decoder: characters outside the alphabet are skipped.
func decodeBase64(s string) (column.Datum, bool) {
	s = strings.Map(func(r rune) rune {
		if r == '+' || r == '/' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, s)
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		return column.NullDatum, false
	}
	return column.Str(string(b)), true
}

func decodeHex(s string) column.Datum {
	if len(s)%2 == 1 {
		s = "0" + s
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return column.NullDatum
	}
	return column.Str(string(b))
}

func evalToBinary(try bool) evalFunc {
	return func(a []column.Datum) (column.Datum, *Error) {
		format := "hex"
		if len(a) == 2 {
			format = strings.ToLower(a[1].S)
		}
		out, ok := column.NullDatum, false
		switch format {
		case "hex":
			out = decodeHex(a[0].S)
			ok = !out.Null
		case "base64":
			if len(a[0].S)%4 == 0 && !strings.ContainsFunc(a[0].S, func(r rune) bool { return strings.ContainsRune("!@#$%^&*() ", r) }) {
				out, ok = decodeBase64(a[0].S)
			}
		case "utf-8", "utf8":
			out, ok = a[0], true
		default:
			return out, runtimeErr("DATATYPE_MISMATCH.INVALID_ARG_VALUE", "42K09", "to_binary: the format %q is not hex, base64 or utf-8", clip(format))
		}
		if !ok && !try {
			return out, runtimeErr("CONVERSION_INVALID_INPUT", "22018", "to_binary: %q is not %s; use try_to_binary to get NULL instead", clip(a[0].S), format)
		}
		return out, nil
	}
}

func errCharset(name string) *Error {
	return runtimeErr("INVALID_PARAMETER_VALUE.CHARSET", "22023", "the character set %q is not one of UTF-8, US-ASCII, ISO-8859-1, UTF-16, UTF-16BE, UTF-16LE", clip(name))
}

func encodeText(s, charset string) (column.Datum, *Error) {
	var out []byte
	switch strings.ToUpper(charset) {
	case "UTF-8":
		return column.Str(s), nil
	case "US-ASCII", "ISO-8859-1":
		limit := rune(0x80)
		if strings.EqualFold(charset, "ISO-8859-1") {
			limit = 0x100
		}
		for _, r := range s {
			if r >= limit {
				return column.NullDatum, runtimeErr("MALFORMED_CHARACTER_CODING", "22000", "encode: %q is not in %s", string(r), charset)
			}
			out = append(out, byte(r))
		}
	case "UTF-16", "UTF-16BE", "UTF-16LE":
		var order binary.AppendByteOrder = binary.BigEndian
		if strings.EqualFold(charset, "UTF-16LE") {
			order = binary.LittleEndian
		} else if strings.EqualFold(charset, "UTF-16") && s != "" {
			out = append(out, 0xfe, 0xff)
		}
		for _, u := range utf16.Encode([]rune(s)) {
			out = order.AppendUint16(out, u)
		}
	default:
		return column.NullDatum, errCharset(charset)
	}
	return column.Str(string(out)), nil
}

func decodeText(s, charset string) (column.Datum, *Error) {
	switch strings.ToUpper(charset) {
	case "UTF-8":
		if !utf8.ValidString(s) {
			return column.NullDatum, runtimeErr("MALFORMED_CHARACTER_CODING", "22000", "decode: the bytes are not UTF-8")
		}
		return column.Str(s), nil
	case "US-ASCII", "ISO-8859-1":
		r := make([]rune, len(s))
		for i := range len(s) {
			r[i] = rune(s[i])
		}
		return column.Str(string(r)), nil
	case "UTF-16", "UTF-16BE", "UTF-16LE":
		var order binary.ByteOrder = binary.BigEndian
		b := []byte(s)
		if strings.EqualFold(charset, "UTF-16LE") {
			order = binary.LittleEndian
		} else if strings.EqualFold(charset, "UTF-16") && len(b) >= 2 && (b[0] == 0xfe && b[1] == 0xff || b[0] == 0xff && b[1] == 0xfe) {
			if b[0] == 0xff {
				order = binary.LittleEndian
			}
			b = b[2:]
		}
		var u []uint16
		for ; len(b) >= 2; b = b[2:] {
			u = append(u, order.Uint16(b))
		}
		return column.Str(string(utf16.Decode(u))), nil
	}
	return column.NullDatum, errCharset(charset)
}

// bindDecode is decode(bytes, charset), or decode(x, key, value, …, default) with NULL equal to NULL.
func bindDecode(name string, args []Expr) (Expr, error) {
	if len(args) < 2 {
		return nil, errWrongNumArgs(name, "two or more", len(args))
	}
	if len(args) == 2 {
		b, err := bindArgs(name, "bin str", args)
		if err != nil {
			return nil, err
		}
		return typed(name, b, column.Of(column.String), func(a []column.Datum) (column.Datum, *Error) { return decodeText(a[0].S, a[1].S) }), nil
	}
	var conds, vals []Expr
	rest := args[1:]
	for ; len(rest) >= 2; rest = rest[2:] {
		eq, err := bindCompare("<=>", []Expr{args[0], rest[0]})
		if err != nil {
			return nil, err
		}
		conds, vals = append(conds, eq), append(vals, rest[1])
	}
	other := nullOf(column.Of(column.String)) // Spark's default has this type
	if len(rest) == 1 {
		other = rest[0]
	}
	return newCase(name, conds, vals, other)
}

func bindHash(name string, args []Expr) (Expr, error) {
	if len(args) == 0 {
		return nil, errWrongNumArgs(name, "one or more", 0)
	}
	types := typesOf(args)
	for i, t := range types {
		if t.Kind == column.Map {
			return nil, analysisErr("DATATYPE_MISMATCH.HASH_MAP_TYPE", "42K09", "%s: argument %d is a MAP, which has no hash", name, i+1)
		}
	}
	if name == "hash" {
		return &scalar{name: name, args: args, t: column.Of(column.Int), nulls: true, safe: true, eval: func(a []column.Datum) (column.Datum, *Error) {
			h := uint32(42)
			for i, d := range a {
				h = hashValue(types[i], d, h, murmur)
			}
			return column.I64(int64(int32(h))), nil
		}}, nil
	}
	return &scalar{name: name, args: args, t: column.Of(column.BigInt), nulls: true, safe: true, eval: func(a []column.Datum) (column.Datum, *Error) {
		h := uint64(42)
		for i, d := range a {
			h = hashValue(types[i], d, h, XXHash64)
		}
		return column.I64(int64(h)), nil
	}}, nil
}

// hashValue folds a value into a hash, by its bytes as Spark lays them out.
func hashValue[H uint32 | uint64](t column.Type, d column.Datum, seed H, hash func(b []byte, seed H) H) H {
	if d.Null {
		return seed
	}
	var b [8]byte
	word := func(v uint32) H { return hash(binary.LittleEndian.AppendUint32(b[:0], v), seed) }
	long := func(v uint64) H { return hash(binary.LittleEndian.AppendUint64(b[:0], v), seed) }
	switch t.Kind {
	case column.Boolean, column.TinyInt, column.SmallInt, column.Int, column.Date, column.IntervalYM:
		return word(uint32(d.I))
	case column.Float:
		return word(math.Float32bits(float32(d.F) + 0))
	case column.Double:
		return long(doubleBits(d.F))
	case column.String, column.Binary:
		return hash([]byte(d.S), seed)
	case column.Decimal:
		if t.Precision <= 18 {
			return long(d.Dec.Lo)
		}
		return hash(javaBytes(d.Dec), seed)
	case column.Array, column.Struct:
		for i, x := range d.L {
			seed = hashValue(memberType(t, i), x, seed, hash)
		}
		return seed
	}
	return long(uint64(d.I))
}

// javaBytes is BigInteger.toByteArray.
func javaBytes(d column.Decimal128) []byte {
	b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(d.Hi)), d.Lo)
	for len(b) > 1 && (b[0] == 0 && b[1] < 0x80 || b[0] == 0xff && b[1] >= 0x80) {
		b = b[1:]
	}
	return b
}

// murmur is Spark's Murmur3_x86_32: the tail is mixed byte by byte.
func murmur(b []byte, seed uint32) uint32 {
	n := uint32(len(b))
	h := seed
	mix := func(k uint32) {
		k *= 0xcc9e2d51
		k = bits.RotateLeft32(k, 15) * 0x1b873593
		h = bits.RotateLeft32(h^k, 13)*5 + 0xe6546b64
	}
	for ; len(b) >= 4; b = b[4:] {
		mix(binary.LittleEndian.Uint32(b))
	}
	for _, c := range b {
		mix(uint32(int32(int8(c))))
	}
	h ^= n
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}

// XXHash64 is XXH64 with a seed, the hash of xxhash64() and behind Spark's sketches.
func XXHash64(b []byte, seed uint64) uint64 {
	var d xxhash.Digest
	d.ResetWithSeed(seed)
	d.Write(b)
	return d.Sum64()
}
