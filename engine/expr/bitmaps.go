package expr

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base32"
	"hash"
	"math/bits"
	"strings"
	"unicode/utf8"

	"signalbox/engine/column"
)

// BitmapBits is the size of one bitmap of bitmap_construct_agg: 4 KiB.
const BitmapBits = 8 * 4096

// byteFunctions are functions over bytes: bitmaps, base 32, keyed digests, valid UTF-8.
func byteFunctions() []function {
	return []function{
		fn("bitmap_bit_position", "bigint", "bigint", "Place of a number in its bitmap, for bitmap_construct_agg.", "bitmap_bit_position(123)", "122", func(a []column.Datum) (column.Datum, *Error) {
			if v := a[0].I; v > 0 {
				return column.I64((v - 1) % BitmapBits), nil
			}
			return column.I64(-a[0].I % BitmapBits), nil
		}).sure(),
		fn("bitmap_bucket_number", "bigint", "bigint", "Number of the bitmap that a number belongs to.", "bitmap_bucket_number(123)", "1", func(a []column.Datum) (column.Datum, *Error) {
			if v := a[0].I; v > 0 {
				return column.I64(1 + (v-1)/BitmapBits), nil
			}
			return column.I64(a[0].I / BitmapBits), nil
		}).sure(),
		fn("bitmap_count", "bin", "bigint", "Number of bits that are set.", "bitmap_count(X'1010')", "2", func(a []column.Datum) (column.Datum, *Error) {
			n := 0
			for i := range len(a[0].S) {
				n += bits.OnesCount8(a[0].S[i])
			}
			return column.I64(int64(n)), nil
		}).sure(),
		fn("to_base32", "strbin", "str", "Bytes in base 32.", "to_base32('foobar')", "MZXW6YTBOI======", str1(func(s string) string {
			return base32.StdEncoding.EncodeToString([]byte(s))
		})).sure(),
		fn("from_base32", "str", "bin", "Bytes of a text in base 32.", "CAST(from_base32('MZXW6YTBOI======') AS STRING)", "foobar", evalFromBase32),
		fn("hmac", "strbin strbin str?", "bin", "Keyed digest of a message: MD5, SHA-1, SHA-224, SHA-256 (default), SHA-384 or SHA-512.", "hex(hmac('key', 'message', 'MD5'))", "4E4748E62B463521F6775FBF921234B5", evalHMAC),
		fn("validate_utf8", "str", "str", "The text; an error when it is not valid UTF-8.", "validate_utf8('Spark')", "Spark", func(a []column.Datum) (column.Datum, *Error) {
			if !utf8.ValidString(a[0].S) {
				return column.NullDatum, runtimeErr("INVALID_UTF8_STRING", "22029", "validate_utf8: the text is not valid UTF-8; use try_validate_utf8 or make_valid_utf8")
			}
			return a[0], nil
		}),
		fn("try_validate_utf8", "str", "str", "The text; NULL when it is not valid UTF-8.", "try_validate_utf8(X'80')", "NULL", func(a []column.Datum) (column.Datum, *Error) {
			return column.Datum{S: a[0].S, Null: !utf8.ValidString(a[0].S)}, nil
		}).sure(),
		fn("jaro_winkler_similarity", "str str", "double", "How alike two texts are, 0.0 to 1.0, a common beginning counting more.", "round(jaro_winkler_similarity('MARTHA', 'MARHTA'), 4)", "0.9611", func(a []column.Datum) (column.Datum, *Error) {
			if len(a[0].S) > maxSimilar || len(a[1].S) > maxSimilar {
				return column.NullDatum, errTooLong("jaro_winkler_similarity")
			}
			return column.F64(jaroWinkler([]rune(a[0].S), []rune(a[1].S))), nil
		}),
	}
}

// maxSimilar bounds the texts of jaro_winkler_similarity, in bytes: its work is their product.
const maxSimilar = 10_000

func evalFromBase32(a []column.Datum) (column.Datum, *Error) {
	b, err := base32.StdEncoding.DecodeString(a[0].S)
	if err != nil {
		return column.NullDatum, runtimeErr("CONVERSION_INVALID_INPUT", "22018", "from_base32: %q is not base 32", clip(a[0].S))
	}
	return column.Str(string(b)), nil
}

func evalHMAC(a []column.Datum) (column.Datum, *Error) {
	name := "SHA-256"
	if len(a) == 3 {
		name = a[2].S
	}
	kinds := map[string]func() hash.Hash{"MD5": md5.New, "SHA1": sha1.New, "SHA224": sha256.New224, "SHA256": sha256.New, "SHA384": sha512.New384, "SHA512": sha512.New}
	f := kinds[strings.ReplaceAll(strings.ToUpper(name), "-", "")]
	if f == nil {
		return column.NullDatum, runtimeErr("INVALID_PARAMETER_VALUE", "22023", "hmac: there is no digest %q; write MD5, SHA-1, SHA-224, SHA-256, SHA-384 or SHA-512", clip(name))
	}
	return column.Str(keyedDigest(f, a[0].S, a[1].S)), nil
}

// keyedDigest is HMAC, RFC 2104.
func keyedDigest(f func() hash.Hash, key, message string) string {
	inner, outer := f(), f()
	if len(key) > inner.BlockSize() {
		outer.Write([]byte(key))
		key = string(outer.Sum(nil))
		outer.Reset()
	}
	pad := func(with byte) []byte {
		out := append([]byte(key), make([]byte, inner.BlockSize()-len(key))...)
		for i := range out {
			out[i] ^= with
		}
		return out
	}
	inner.Write(pad(0x36))
	inner.Write([]byte(message))
	outer.Write(pad(0x5c))
	outer.Write(inner.Sum(nil))
	return string(outer.Sum(nil))
}

// jaroWinkler weighs a common beginning of up to four characters with 0.1 each.
func jaroWinkler(a, b []rune) float64 {
	j := jaro(a, b)
	n := 0
	for n < min(4, len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return j + float64(float64(float64(n)*0.1)*(1-j))
}

func jaro(a, b []rune) float64 {
	if len(a) == 0 && len(b) == 0 {
		return 1
	}
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	reach := max(0, max(len(a), len(b))/2-1)
	used := make([]bool, len(b))
	var mine, theirs []rune
	for i, r := range a {
		for k := max(0, i-reach); k < min(len(b), i+reach+1); k++ {
			if !used[k] && b[k] == r {
				used[k] = true
				mine = append(mine, r)
				break
			}
		}
	}
	if len(mine) == 0 {
		return 0
	}
	for k, u := range used {
		if u {
			theirs = append(theirs, b[k])
		}
	}
	swapped := 0
	for i := range mine {
		if mine[i] != theirs[i] {
			swapped++
		}
	}
	m := float64(len(mine))
	return (m/float64(len(a)) + m/float64(len(b)) + (m-float64(swapped)/2)/m) / 3
}
