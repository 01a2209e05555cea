//! Faults in bodies, and parameters nobody declared.

use super::Want::Refused;
use super::{Case, case, refund, removal, search, transfer, upload, wire};

pub(super) fn forms() -> Vec<Case> {
    vec![
        case(
            "form names the amount twice",
            refund,
            |r| r.more("&amount=1"),
            Refused("duplicate_key", "`amount` more than once"),
        ),
        case(
            "form names the amount twice alike",
            refund,
            |r| r.more("&amount=12000"),
            Refused("duplicate_key", "`amount`"),
        ),
        case(
            "form names the amount twice in hex",
            refund,
            |r| r.more("&%61mount=1"),
            Refused("duplicate_key", "`amount`"),
        ),
        case(
            "form names metadata twice",
            refund,
            |r| r.more("&metadata%5Border%5D=8"),
            Refused("duplicate_key", "`metadata[order]`"),
        ),
        case(
            "form has an empty pair",
            refund,
            |r| r.swap("&amount", "&&amount"),
            Refused("unparsable", "empty pair"),
        ),
        case(
            "form ends with an ampersand",
            refund,
            |r| r.more("&"),
            Refused("unparsable", "empty pair"),
        ),
        case(
            "form starts with an ampersand",
            refund,
            |r| r.swap("charge=ch_1", "&charge=ch_1"),
            Refused("unparsable", "empty pair"),
        ),
        case(
            "form has a key without value",
            refund,
            |r| r.swap("amount=12000", "amount"),
            Refused("unparsable", "no `=`"),
        ),
        case(
            "form has a value without key",
            refund,
            |r| r.more("&=1"),
            Refused("unparsable", "without a key"),
        ),
        case(
            "form has a semicolon",
            refund,
            |r| r.swap("&amount", ";amount"),
            Refused("unparsable", "%3B"),
        ),
        case(
            "form has a bad escape",
            refund,
            |r| r.swap("ch_1", "ch%1"),
            Refused("unparsable", "two hex digits"),
        ),
        case(
            "form is not UTF-8",
            refund,
            |r| r.swap("ch_1", "%ff"),
            Refused("unparsable", "not UTF-8"),
        ),
        case(
            "form is raw Latin 1",
            refund,
            |r| r.body.extend_from_slice(b"&metadata[x]=\xe4"),
            Refused("unparsable", "not UTF-8"),
        ),
        case(
            "form has a line end",
            refund,
            |r| r.more("\n"),
            Refused("unparsable", "0x0a"),
        ),
        case(
            "form has raw NUL",
            refund,
            |r| r.more("\0"),
            Refused("unparsable", "0x00"),
        ),
        case(
            "form hides NUL",
            refund,
            |r| r.swap("ch_1", "ch_1%00"),
            Refused("unparsable", "control character"),
        ),
        case(
            "form hides a line end in a key",
            refund,
            |r| r.more("&metadata[a%0a]=1"),
            Refused("unparsable", "control character"),
        ),
        case(
            "form is JSON",
            refund,
            |r| r.body = br#"{"amount":1}"#.to_vec(),
            Refused("unparsable", "really a form"),
        ),
        case(
            "form asks for another method",
            refund,
            |r| r.more("&_method=DELETE"),
            Refused("two_actions", "`_method`"),
        ),
        case(
            "form asks for another method in hex",
            refund,
            |r| r.more("&_%6dethod=DELETE"),
            Refused("two_actions", "`_method`"),
        ),
        case(
            "form has too many pairs",
            refund,
            |r| r.more(&"&a=".repeat(1024)),
            Refused("unparsable", "1024 pairs"),
        ),
    ]
}

pub(super) fn json() -> Vec<Case> {
    vec![
        case(
            "JSON names the amount twice",
            transfer,
            |r| r.swap("{\"amount\"", "{\"amount\":\"1.00\",\"amount\""),
            Refused("duplicate_key", "appears twice"),
        ),
        case(
            "JSON names the amount twice by escape",
            transfer,
            |r| r.swap("{\"amount\"", "{\"\\u0061mount\":\"1.00\",\"amount\""),
            Refused("duplicate_key", "appears twice"),
        ),
        case(
            "JSON names a key twice inside",
            transfer,
            |r| r.swap("{\"sku\":\"a\"}", "{\"sku\":\"a\",\"sku\":\"b\"}"),
            Refused("duplicate_key", "appears twice"),
        ),
        case(
            "JSON of a read names a key twice",
            search,
            |r| r.body = br#"{"a":1,"a":1}"#.to_vec(),
            Refused("duplicate_key", "appears twice"),
        ),
        case(
            "JSON is a batch",
            transfer,
            |r| {
                r.body.insert(0, b'[');
                r.more("]")
            },
            Refused("two_actions", "batch"),
        ),
        case(
            "JSON is an empty batch",
            transfer,
            |r| r.body = b"[]".to_vec(),
            Refused("two_actions", "batch"),
        ),
        case(
            "JSON of a read is a batch",
            search,
            |r| r.body = b"[{}]".to_vec(),
            Refused("two_actions", "batch"),
        ),
        case(
            "JSON is a number",
            transfer,
            |r| r.body = b"1".to_vec(),
            Refused("unparsable", "not a JSON object"),
        ),
        case(
            "JSON is null",
            transfer,
            |r| r.body = b"null".to_vec(),
            Refused("unparsable", "not a JSON object"),
        ),
        case(
            "JSON is a string",
            transfer,
            |r| r.body = b"\"x\"".to_vec(),
            Refused("unparsable", "not a JSON object"),
        ),
        case(
            "JSON is two values",
            transfer,
            |r| r.more("{}"),
            Refused("unparsable", "more text after the value"),
        ),
        case(
            "JSON lines",
            transfer,
            |r| r.more("\n{}"),
            Refused("unparsable", "more text after the value"),
        ),
        case(
            "JSON is cut off",
            transfer,
            |r| {
                r.body.pop();
            },
            Refused("unparsable", "ends early"),
        ),
        case(
            "JSON has a trailing comma",
            transfer,
            |r| r.swap("}]}", "}],}"),
            Refused("unparsable", "expected"),
        ),
        case(
            "JSON has a comment",
            transfer,
            |r| r.swap("{\"amount\"", "{/**/\"amount\""),
            Refused("unparsable", "expected"),
        ),
        case(
            "JSON has single quotes",
            transfer,
            |r| r.swap("\"eur\"", "'eur'"),
            Refused("unparsable", "expected"),
        ),
        case(
            "JSON says NaN",
            transfer,
            |r| r.swap("\"120.00\"", "NaN"),
            Refused("unparsable", "expected"),
        ),
        case(
            "JSON says Infinity",
            wire,
            |r| r.swap("12000", "Infinity"),
            Refused("unparsable", "expected"),
        ),
        case(
            "JSON number has a plus sign",
            wire,
            |r| r.swap("12000", "+12000"),
            Refused("unparsable", "expected"),
        ),
        case(
            "JSON number has a leading zero",
            wire,
            |r| r.swap("12000", "012000"),
            Refused("unparsable", "not a JSON number"),
        ),
        case(
            "JSON number has no whole part",
            wire,
            |r| r.swap("12000", ".5"),
            Refused("unparsable", "expected"),
        ),
        case(
            "JSON number is hexadecimal",
            wire,
            |r| r.swap("12000", "0x10"),
            Refused("unparsable", "expected"),
        ),
        case(
            "JSON number is endless",
            wire,
            |r| r.swap("12000", &"9".repeat(200)),
            Refused("unparsable", "number is longer"),
        ),
        case(
            "JSON has a byte order mark",
            transfer,
            |r| r.swap("{\"amount\"", "\u{feff}{\"amount\""),
            Refused("unparsable", "byte order mark"),
        ),
        case(
            "JSON is not UTF-8",
            transfer,
            |r| r.body.insert(13, 0xff),
            Refused("unparsable", "not UTF-8"),
        ),
        case(
            "JSON has a lone surrogate",
            transfer,
            |r| r.swap("rent", "\\ud800"),
            Refused("unparsable", "lone surrogate"),
        ),
        case(
            "JSON has a raw line end in a string",
            transfer,
            |r| r.swap("rent", "re\nnt"),
            Refused("unparsable", "control character"),
        ),
        case(
            "JSON has an unknown escape",
            transfer,
            |r| r.swap("rent", "re\\xnt"),
            Refused("unparsable", "unknown escape"),
        ),
        case(
            "JSON is nested too deep",
            search,
            |r| r.body = format!("{{\"a\":{}{}}}", "[".repeat(70), "]".repeat(70)).into_bytes(),
            Refused("unparsable", "too deep"),
        ),
        case(
            "JSON is a form",
            transfer,
            |r| r.body = b"amount=1".to_vec(),
            Refused("unparsable", "expected"),
        ),
        case(
            "JSON is blank",
            transfer,
            |r| r.body = b"  ".to_vec(),
            Refused("unparsable", "ends early"),
        ),
        case(
            "JSON asks for another method",
            transfer,
            |r| r.swap("{\"amount\"", "{\"_method\":\"DELETE\",\"amount\""),
            Refused("two_actions", "`_method`"),
        ),
        case(
            "JSON of a read asks for another method",
            search,
            |r| r.body = br#"{"_Method":"DELETE"}"#.to_vec(),
            Refused("two_actions", "`_method`"),
        ),
    ]
}

pub(super) fn multiparts() -> Vec<Case> {
    const SENTENCE: &str = "could be read in two ways";
    vec![
        case(
            "multipart has a preamble",
            upload,
            |r| {
                r.body.splice(0..0, *b"hi\r\n");
            },
            Refused("unparsable", "does not start"),
        ),
        case(
            "multipart has an epilogue",
            upload,
            |r| r.more("hi"),
            Refused("unparsable", "more than a line end"),
        ),
        case(
            "multipart has no end",
            upload,
            |r| r.swap("--BOUND--\r\n", ""),
            Refused("unparsable", "last boundary is missing"),
        ),
        case(
            "multipart ends twice",
            upload,
            |r| r.more("--BOUND--\r\n"),
            Refused("unparsable", SENTENCE),
        ),
        case(
            "multipart has another boundary",
            upload,
            |r| r.label("content-type", "multipart/form-data; boundary=OTHER"),
            Refused("unparsable", "does not start"),
        ),
        case(
            "multipart boundary goes on",
            upload,
            |r| r.swap("PDF\r\n--BOUND--", "PDF\r\n--BOUNDX\r\n--BOUND--"),
            Refused("unparsable", "more than a line end"),
        ),
        case(
            "multipart boundary after a bare line feed",
            upload,
            |r| r.swap("PDF\r\n", "PDF\n--BOUND\r\n"),
            Refused("unparsable", "inside a part"),
        ),
        case(
            "multipart boundary inside a line",
            upload,
            |r| r.swap("PDF", "P--BOUND"),
            Refused("unparsable", "inside a part"),
        ),
        case(
            "multipart with bare line feeds",
            upload,
            |r| r.body.retain(|byte| *byte != b'\r'),
            Refused("unparsable", "line end"),
        ),
        case(
            "multipart name twice",
            upload,
            |r| {
                r.swap(
                    "name=\"file\"; filename=\"a.pdf\"\r\nContent-Type: application/pdf",
                    "name=\"purpose\"",
                )
            },
            Refused("duplicate_key", "`purpose` more than once"),
        ),
        case(
            "multipart without a head",
            upload,
            |r| r.swap("name=\"purpose\"\r\n\r\n", "name=\"purpose\"\r\n"),
            Refused("unparsable", SENTENCE),
        ),
        case(
            "multipart with a transfer encoding",
            upload,
            |r| {
                r.swap(
                    "application/pdf\r\n",
                    "application/pdf\r\nContent-Transfer-Encoding: base64\r\n",
                )
            },
            Refused("unparsable", "a header other than"),
        ),
        case(
            "multipart with a folded header",
            upload,
            |r| r.swap("application/pdf\r\n", "application/pdf;\r\n a=b\r\n"),
            Refused("unparsable", SENTENCE),
        ),
        case(
            "multipart with two dispositions",
            upload,
            |r| {
                r.swap(
                    "Content-Type: application/pdf",
                    "Content-Disposition: form-data; name=\"x\"",
                )
            },
            Refused("unparsable", "the same header twice"),
        ),
        case(
            "multipart without a disposition",
            upload,
            |r| {
                r.swap(
                    "Content-Disposition: form-data; name=\"file\"; filename=\"a.pdf\"\r\n",
                    "",
                )
            },
            Refused("unparsable", "no Content-Disposition"),
        ),
        case(
            "multipart of attachments",
            upload,
            |r| {
                r.swap(
                    "form-data; name=\"purpose\"",
                    "attachment; name=\"purpose\"",
                )
            },
            Refused("unparsable", "is not `form-data"),
        ),
        case(
            "multipart name unquoted",
            upload,
            |r| r.swap("name=\"purpose\"", "name=purpose"),
            Refused("unparsable", "is not `form-data"),
        ),
        case(
            "multipart name empty",
            upload,
            |r| r.swap("name=\"purpose\"", "name=\"\""),
            Refused("unparsable", "is not `form-data"),
        ),
        case(
            "multipart name escaped",
            upload,
            |r| r.swap("name=\"purpose\"", "name=\"a\\\"b\""),
            Refused("unparsable", "without escapes"),
        ),
        case(
            "multipart name with a backslash",
            upload,
            |r| r.swap("name=\"purpose\"", "name=\"a\\b\""),
            Refused("unparsable", "without escapes"),
        ),
        case(
            "multipart with two names",
            upload,
            |r| r.swap("name=\"purpose\"", "name=\"purpose\"; name=\"x\""),
            Refused("unparsable", "is not `form-data"),
        ),
        case(
            "multipart file name in another coding",
            upload,
            |r| r.swap("filename=\"a.pdf\"", "filename*=utf-8''a.pdf"),
            Refused("unparsable", "is not `form-data"),
        ),
        case(
            "multipart field of another type",
            upload,
            |r| {
                r.swap(
                    "name=\"purpose\"",
                    "name=\"purpose\"\r\nContent-Type: application/json",
                )
            },
            Refused("unparsable", "not plain UTF-8 text"),
        ),
        case(
            "multipart field with NUL",
            upload,
            |r| r.swap("dispute", "dis\0pute"),
            Refused("unparsable", "not plain UTF-8 text"),
        ),
        case(
            "multipart head too long",
            upload,
            |r| r.swap("a.pdf", &"a".repeat(1100)),
            Refused("unparsable", "longer than 1024"),
        ),
        case(
            "multipart head with a control character",
            upload,
            |r| r.swap("a.pdf", "a\n.pdf"),
            Refused("unparsable", "control character"),
        ),
        case(
            "multipart asks for another method",
            upload,
            |r| {
                r.swap(
                    "name=\"file\"; filename=\"a.pdf\"\r\nContent-Type: application/pdf",
                    "name=\"_method\"",
                )
            },
            Refused("two_actions", "`_method`"),
        ),
    ]
}

pub(super) fn closed() -> Vec<Case> {
    const CODE: &str = "undeclared_parameter";
    vec![
        case(
            "form parameter",
            refund,
            |r| r.more("&reverse_transfer=true"),
            Refused(CODE, "`reverse_transfer` of the body"),
        ),
        case(
            "form parameter in other letters",
            refund,
            |r| r.more("&Amount=1"),
            Refused(CODE, "`Amount`"),
        ),
        case(
            "form parameter with brackets",
            refund,
            |r| r.more("&amount[]=1"),
            Refused(CODE, "`amount[]`"),
        ),
        case(
            "form parameter with an index",
            refund,
            |r| r.more("&amount[0]=1"),
            Refused(CODE, "`amount[0]`"),
        ),
        case(
            "form parameter one level too deep",
            refund,
            |r| r.more("&metadata[a][b]=1"),
            Refused(CODE, "`metadata[a][b]`"),
        ),
        case(
            "form parameter one level too high",
            refund,
            |r| r.more("&metadata=1"),
            Refused(CODE, "`metadata`"),
        ),
        case(
            "form parameter with empty brackets",
            refund,
            |r| r.more("&metadata[]=1"),
            Refused(CODE, "`metadata[]`"),
        ),
        case(
            "form parameter with an open bracket",
            refund,
            |r| r.more("&metadata[a=1"),
            Refused(CODE, "`metadata[a`"),
        ),
        case(
            "form parameter with a blank behind",
            refund,
            |r| r.more("&amount+=1"),
            Refused(CODE, "(name withheld)"),
        ),
        case(
            "form parameter with a dot",
            refund,
            |r| r.more("&metadata.a=1"),
            Refused(CODE, "`metadata.a`"),
        ),
        case(
            "form parameter declared for the query",
            refund,
            |r| r.more("&dry_run=1"),
            Refused(CODE, "`dry_run` of the body"),
        ),
        case(
            "form parameter with a long name",
            refund,
            |r| r.more(&format!("&{}=1", "a".repeat(65))),
            Refused(CODE, "(name withheld)"),
        ),
        case(
            "query parameter",
            refund,
            |r| r.to("/v1/refunds?livemode=1"),
            Refused(CODE, "`livemode` of the query"),
        ),
        case(
            "query parameter declared for the body",
            refund,
            |r| r.to("/v1/refunds?amount=1"),
            Refused(CODE, "`query.NAME`"),
        ),
        case(
            "query parameter of a body none has",
            removal,
            |r| r.to("/v1/accounts/a?reason=x&force=1"),
            Refused(CODE, "`force`"),
        ),
        case(
            "JSON parameter",
            transfer,
            |r| r.swap("{\"amount\"", "{\"fee\":1,\"amount\""),
            Refused(CODE, "`fee` of the body"),
        ),
        case(
            "JSON parameter in other letters",
            transfer,
            |r| r.swap("{\"amount\"", "{\"Amount\":\"1\",\"amount\""),
            Refused(CODE, "`Amount`"),
        ),
        case(
            "JSON parameter of null",
            transfer,
            |r| r.swap("{\"amount\"", "{\"fee\":null,\"amount\""),
            Refused(CODE, "`fee`"),
        ),
        case(
            "JSON parameter of an empty object",
            transfer,
            |r| r.swap("{\"amount\"", "{\"fee\":{},\"amount\""),
            Refused(CODE, "`fee`"),
        ),
        case(
            "JSON parameter of an empty list",
            transfer,
            |r| r.swap("{\"amount\"", "{\"fee\":[],\"amount\""),
            Refused(CODE, "`fee`"),
        ),
        case(
            "JSON parameter inside",
            transfer,
            |r| r.swap("\"sku\":\"a\"", "\"sku\":\"a\",\"price\":1"),
            Refused(CODE, "`lines[0].price`"),
        ),
        case(
            "JSON parameter below a declared one",
            transfer,
            |r| r.swap("\"ba_1\"", "{\"id\":\"ba_1\"}"),
            Refused(CODE, "`to.id`"),
        ),
        case(
            "JSON list of a declared one",
            transfer,
            |r| r.swap("\"ba_1\"", "[\"ba_1\"]"),
            Refused(CODE, "`to[0]`"),
        ),
        case(
            "JSON parameter with a dotted name",
            transfer,
            |r| r.swap("{\"amount\"", "{\"lines.0.sku\":1,\"amount\""),
            Refused(CODE, "`lines.0.sku`"),
        ),
        case(
            "JSON parameter without a name",
            transfer,
            |r| r.swap("{\"amount\"", "{\"\":1,\"amount\""),
            Refused(CODE, "(name withheld)"),
        ),
        case(
            "JSON parameter that could be a secret",
            transfer,
            |r| r.swap("{\"amount\"", "{\"4242 4242\":1,\"amount\""),
            Refused(CODE, "(name withheld)"),
        ),
        case(
            "multipart parameter",
            upload,
            |r| r.swap("name=\"purpose\"", "name=\"link\""),
            Refused(CODE, "`link` of the body"),
        ),
        case(
            "multipart file",
            upload,
            |r| r.swap("name=\"file\"", "name=\"icon\""),
            Refused(CODE, "`icon`"),
        ),
    ]
}
