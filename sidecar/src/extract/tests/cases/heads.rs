//! Faults in request line and headers.

use super::Want::Refused;
use super::{Case, Want, blob, case, read, refund, removal, search, trace, transfer, upload};

pub(super) fn paths() -> Vec<Case> {
    vec![
        case(
            "path climbs",
            read,
            |r| r.to("/v1/charges/../refunds"),
            Refused("bad_path", "dot segment"),
        ),
        case(
            "path climbs at its end",
            read,
            |r| r.to("/v1/charges/.."),
            Refused("bad_path", "dot segment"),
        ),
        case(
            "path holds a single dot",
            read,
            |r| r.to("/v1/./charges"),
            Refused("bad_path", "dot segment"),
        ),
        case(
            "path climbs in hex",
            read,
            |r| r.to("/v1/%2e%2e/refunds"),
            Refused("bad_path", "dot segment"),
        ),
        case(
            "path climbs half in hex",
            read,
            |r| r.to("/v1/.%2E/refunds"),
            Refused("bad_path", "dot segment"),
        ),
        case(
            "path climbs before a semicolon",
            read,
            |r| r.to("/v1/..;/x"),
            Refused("bad_path", "dot segment"),
        ),
        case(
            "write path climbs",
            refund,
            |r| r.to("/v1/charges/../refunds"),
            Refused("bad_path", "dot segment"),
        ),
        case(
            "path hides a slash",
            read,
            |r| r.to("/v1/charges%2Frefunds"),
            Refused("bad_path", "encoded slash"),
        ),
        case(
            "path hides a small slash",
            read,
            |r| r.to("/v1/charges%2frefunds"),
            Refused("bad_path", "encoded slash"),
        ),
        case(
            "path hides a backslash",
            read,
            |r| r.to("/v1/charges%5Crefunds"),
            Refused("bad_path", "encoded slash"),
        ),
        case(
            "path hides NUL",
            read,
            |r| r.to("/v1/charges%00"),
            Refused("bad_path", "control character"),
        ),
        case(
            "path hides a line end",
            read,
            |r| r.to("/v1/charges%0d%0a"),
            Refused("bad_path", "control character"),
        ),
        case(
            "path is encoded twice",
            read,
            |r| r.to("/v1/%252e%252e/refunds"),
            Refused("bad_path", "encoded twice"),
        ),
        case(
            "slash is encoded twice",
            read,
            |r| r.to("/v1/a%252Fb"),
            Refused("bad_path", "encoded twice"),
        ),
        case(
            "percent sign encodes nothing",
            read,
            |r| r.to("/v1/100%"),
            Refused("bad_path", "two hex digits"),
        ),
        case(
            "percent sign before one digit",
            read,
            |r| r.to("/v1/a%2"),
            Refused("bad_path", "two hex digits"),
        ),
        case(
            "percent sign before no digits",
            read,
            |r| r.to("/v1/a%zz"),
            Refused("bad_path", "two hex digits"),
        ),
        case(
            "path is not UTF-8",
            read,
            |r| r.to("/v1/%ff"),
            Refused("bad_path", "not UTF-8"),
        ),
        case(
            "slash is overlong UTF-8",
            read,
            |r| r.to("/v1/a%c0%afb"),
            Refused("bad_path", "not UTF-8"),
        ),
        case(
            "path doubles a slash",
            read,
            |r| r.to("/v1//charges"),
            Refused("bad_path", "is empty"),
        ),
        case(
            "path starts with two slashes",
            read,
            |r| r.to("//v1/charges"),
            Refused("bad_path", "is empty"),
        ),
        case(
            "path ends with a slash",
            refund,
            |r| r.to("/v1/refunds/"),
            Refused("bad_path", "ends with `/`"),
        ),
        case(
            "path holds a raw backslash",
            read,
            |r| r.to("/v1\\charges"),
            Refused("bad_path", "0x5c"),
        ),
        case(
            "path holds a raw blank",
            read,
            |r| r.to("/v1/a b"),
            Refused("bad_path", "0x20"),
        ),
        case(
            "path holds raw UTF-8",
            read,
            |r| r.to("/v1/ä"),
            Refused("bad_path", "0xc3"),
        ),
        case(
            "path holds raw NUL",
            read,
            |r| r.to("/v1/a\0"),
            Refused("bad_path", "0x00"),
        ),
        case(
            "path holds a fragment",
            read,
            |r| r.to("/v1/a#b"),
            Refused("bad_path", "0x23"),
        ),
        case(
            "path holds raw brackets",
            read,
            |r| r.to("/v1/a[0]"),
            Refused("bad_path", "0x5b"),
        ),
        case(
            "target is a whole URL",
            read,
            |r| r.to("https://api.shop.test/v1/x"),
            Refused("bad_path", "start with `/`"),
        ),
        case(
            "target is a star",
            read,
            |r| r.to("*"),
            Refused("bad_path", "start with `/`"),
        ),
        case(
            "target is nothing",
            read,
            |r| r.to(""),
            Refused("bad_path", "start with `/`"),
        ),
        case(
            "path is too long",
            read,
            |r| r.to(&format!("/v1/{}", "a".repeat(9000))),
            Refused("bad_path", "bytes long"),
        ),
        case(
            "path is too deep",
            read,
            |r| r.to(&"/a".repeat(65)),
            Refused("bad_path", "segments"),
        ),
    ]
}

pub(super) fn targets() -> Vec<Case> {
    vec![
        case(
            "path is not declared",
            refund,
            |r| r.to("/v2/refunds"),
            Refused("undeclared", "no action has this path"),
        ),
        case(
            "path is in other letters",
            refund,
            |r| r.to("/v1/Refunds"),
            Refused("undeclared", "for GET only"),
        ),
        case(
            "path goes further",
            refund,
            |r| r.to("/v1/refunds/re_1"),
            Refused("undeclared", "for GET only"),
        ),
        case(
            "path is cut short",
            removal,
            |r| r.to("/v1/accounts"),
            Refused("undeclared", "for GET only"),
        ),
        case(
            "root is not declared",
            read,
            |r| r.to("/"),
            Refused("undeclared", "no action has this path"),
        ),
        case(
            "method is not declared",
            refund,
            |r| r.method = "PATCH".into(),
            Refused("undeclared", "GET, POST only"),
        ),
        case(
            "method is in small letters",
            refund,
            |r| r.method = "post".into(),
            Refused("undeclared", "this method"),
        ),
        case(
            "method is made up",
            read,
            |r| r.method = "FROB".into(),
            Refused("undeclared", "this method"),
        ),
        case(
            "method is HEAD",
            read,
            |r| r.method = "HEAD".into(),
            Refused("undeclared", "no action for HEAD"),
        ),
        case(
            "method is OPTIONS",
            read,
            |r| r.method = "OPTIONS".into(),
            Refused("undeclared", "for OPTIONS"),
        ),
        case(
            "two actions match alike",
            removal,
            |r| {
                r.method = "POST".into();
                r.to("/v1/tie/x")
            },
            Refused("two_actions", "neither is more specific"),
        ),
        case(
            "query has an empty pair",
            read,
            |r| r.to("/v1/a?x=1&&y=2"),
            Refused("unparsable", "empty pair"),
        ),
        case(
            "query ends with an ampersand",
            read,
            |r| r.to("/v1/a?x=1&"),
            Refused("unparsable", "empty pair"),
        ),
        case(
            "query has a pair without key",
            read,
            |r| r.to("/v1/a?=1"),
            Refused("unparsable", "without a key"),
        ),
        case(
            "query has a semicolon",
            read,
            |r| r.to("/v1/a?x=1;y=2"),
            Refused("unparsable", "%3B"),
        ),
        case(
            "query has a raw blank",
            read,
            |r| r.to("/v1/a?x=a b"),
            Refused("unparsable", "0x20"),
        ),
        case(
            "query has a fragment",
            read,
            |r| r.to("/v1/a?x=1#y"),
            Refused("unparsable", "0x23"),
        ),
        case(
            "query has raw UTF-8",
            read,
            |r| r.to("/v1/a?x=ä"),
            Refused("unparsable", "0xc3"),
        ),
        case(
            "query has a bad escape",
            read,
            |r| r.to("/v1/a?x=%4"),
            Refused("unparsable", "two hex digits"),
        ),
        case(
            "query is not UTF-8",
            read,
            |r| r.to("/v1/a?x=%ff"),
            Refused("unparsable", "not UTF-8"),
        ),
        case(
            "query hides NUL",
            read,
            |r| r.to("/v1/a?x=%00"),
            Refused("unparsable", "control character"),
        ),
        case(
            "query names a key twice",
            read,
            |r| r.to("/v1/a?x=1&x=1"),
            Refused("duplicate_key", "`x` more than once"),
        ),
        case(
            "query names a key twice in hex",
            read,
            |r| r.to("/v1/a?x=1&%78=2"),
            Refused("duplicate_key", "`x`"),
        ),
        case(
            "query of a write names a key twice",
            removal,
            |r| r.to("/v1/accounts/a?reason=a&reason=b"),
            Refused("duplicate_key", "`reason`"),
        ),
        case(
            "query is too long",
            read,
            |r| r.to(&format!("/v1/a?x={}", "a".repeat(9000))),
            Refused("unparsable", "8192"),
        ),
        case(
            "query has too many pairs",
            read,
            |r| r.to(&format!("/v1/a?x[]=1{}", "&x[]=1".repeat(300))),
            Refused("unparsable", "256 pairs"),
        ),
        case(
            "query asks for another method",
            read,
            |r| r.to("/v1/charges?_method=DELETE"),
            Refused("two_actions", "`_method`"),
        ),
        case(
            "query asks for another method in hex",
            read,
            |r| r.to("/v1/charges?%5Fmethod=DELETE"),
            Refused("two_actions", "`_method`"),
        ),
        case(
            "query asks for another method aloud",
            read,
            |r| r.to("/v1/charges?_METHOD=DELETE"),
            Refused("two_actions", "`_method`"),
        ),
        case(
            "query asks by the header's name",
            read,
            |r| r.to("/v1/charges?X-HTTP-Method-Override=PUT"),
            Refused("two_actions", "another method"),
        ),
    ]
}

pub(super) fn heads() -> Vec<Case> {
    vec![
        case(
            "method override",
            refund,
            |r| r.header("x-http-method-override", "DELETE"),
            Refused("two_actions", "`x-http-method-override`"),
        ),
        case(
            "method override of a read",
            read,
            |r| r.header("X-HTTP-Method-Override", "DELETE"),
            Refused("two_actions", "`x-http-method-override`"),
        ),
        case(
            "method override with underscores",
            read,
            |r| r.header("X_HTTP_Method_Override", "DELETE"),
            Refused("two_actions", "`x-http-method-override`"),
        ),
        case(
            "path override, mixed",
            refund,
            |r| r.header("x-original_url", "/v1/admin"),
            Refused("two_actions", "`x-original-url`"),
        ),
        case(
            "method override to itself",
            read,
            |r| r.header("x-http-method-override", "GET"),
            Refused("two_actions", "send what"),
        ),
        case(
            "method override, OData",
            read,
            |r| r.header("x-http-method", "MERGE"),
            Refused("two_actions", "`x-http-method`"),
        ),
        case(
            "method override, short",
            read,
            |r| r.header("x-method-override", "PUT"),
            Refused("two_actions", "`x-method-override`"),
        ),
        case(
            "method override, original",
            read,
            |r| r.header("x-original-method", "PUT"),
            Refused("two_actions", "`x-original-method`"),
        ),
        case(
            "path override, IIS",
            read,
            |r| r.header("x-original-url", "/v1/refunds"),
            Refused("two_actions", "`x-original-url`"),
        ),
        case(
            "path override, Symfony",
            read,
            |r| r.header("x-rewrite-url", "/v1/refunds"),
            Refused("two_actions", "`x-rewrite-url`"),
        ),
        case(
            "semantic header twice",
            refund,
            |r| r.header("shop-account", "acct_2"),
            Refused("duplicate_header", "`shop-account` is there more than once"),
        ),
        case(
            "semantic header twice alike",
            refund,
            |r| r.header("shop-account", "acct_1"),
            Refused("duplicate_header", "`shop-account`"),
        ),
        case(
            "semantic header of a read twice",
            read,
            |r| r.header("Shop-Account", "acct_2"),
            Refused("duplicate_header", "`shop-account`"),
        ),
        case(
            "TRACE",
            read,
            |r| r.method = "TRACE".to_owned(),
            Refused("undeclared", "it is never sent"),
        ),
        case(
            "semantic header over a KiB",
            refund,
            |r| r.label("shop-account", &"\\".repeat(1025)),
            Refused("header_too_large", "`shop-account` has more than 1024"),
        ),
        case(
            "semantic header of a read over a KiB",
            read,
            |r| r.label("shop-account", &"a".repeat(30_000)),
            Refused("header_too_large", "`shop-account`"),
        ),
        case(
            "judged header begins with a blank",
            refund,
            |r| r.label("shop-account", " acct_1"),
            Refused("unparsable", "`shop-account` begins or ends with a blank"),
        ),
        case(
            "judged header ends with a tab",
            read,
            |r| r.label("shop-account", "acct_1\t"),
            Refused("unparsable", "`shop-account` begins or ends with a blank"),
        ),
        case(
            "semantic header is not ASCII",
            refund,
            |r| r.label("shop-account", "äcct"),
            Refused("unparsable", "`shop-account`"),
        ),
        case(
            "idempotency key twice",
            refund,
            |r| r.header("idempotency-key", "k-2"),
            Refused("duplicate_header", "`idempotency-key`"),
        ),
        case(
            "idempotency key empty",
            refund,
            |r| r.label("idempotency-key", ""),
            Refused("unparsable", "1 to 255"),
        ),
        case(
            "idempotency key too long",
            refund,
            |r| r.label("idempotency-key", &"k".repeat(256)),
            Refused("unparsable", "1 to 255"),
        ),
        case(
            "idempotency key with a blank",
            refund,
            |r| r.label("idempotency-key", "k 1"),
            Refused("unparsable", "1 to 255"),
        ),
        case(
            "idempotency key not ASCII",
            refund,
            |r| r.label("idempotency-key", "kä"),
            Refused("unparsable", "visible ASCII"),
        ),
        case(
            "connection drops a semantic header",
            refund,
            |r| r.header("connection", "close, Shop-Account"),
            Refused("unparsable", "`shop-account`"),
        ),
        case(
            "connection drops the content type",
            transfer,
            |r| r.header("connection", "content-type"),
            Refused("unparsable", "`content-type`"),
        ),
        case(
            "connection drops the idempotency key",
            refund,
            |r| r.header("connection", "idempotency-key"),
            Refused("unparsable", "`idempotency-key`"),
        ),
    ]
}

pub(super) fn labels() -> Vec<Case> {
    const FORM: Want = Refused("mislabelled_body", "`application/x-www-form-urlencoded`");
    const JSON: Want = Refused("mislabelled_body", "`application/json`");
    const MULTIPART: Want = Refused("mislabelled_body", "`multipart/form-data`");
    vec![
        case(
            "form said to be JSON",
            refund,
            |r| r.label("content-type", "application/json"),
            FORM,
        ),
        case(
            "form said to be text",
            refund,
            |r| r.label("content-type", "text/plain"),
            FORM,
        ),
        case(
            "form said to be multipart",
            refund,
            |r| r.label("content-type", "multipart/form-data; boundary=x"),
            FORM,
        ),
        case(
            "form without a type",
            refund,
            |r| r.unlabel("content-type"),
            FORM,
        ),
        case(
            "form of an empty type",
            refund,
            |r| r.label("content-type", ""),
            FORM,
        ),
        case(
            "form in Latin 1",
            refund,
            |r| {
                r.label(
                    "content-type",
                    "application/x-www-form-urlencoded; charset=iso-8859-1",
                )
            },
            FORM,
        ),
        case(
            "form in UTF-7",
            refund,
            |r| {
                r.label(
                    "content-type",
                    "application/x-www-form-urlencoded;charset=utf-7",
                )
            },
            FORM,
        ),
        case(
            "form of two types in one",
            refund,
            |r| {
                r.label(
                    "content-type",
                    "application/x-www-form-urlencoded, application/json",
                )
            },
            FORM,
        ),
        case(
            "form of two types",
            refund,
            |r| r.header("content-type", "application/json"),
            Refused("duplicate_header", "`content-type`"),
        ),
        case(
            "form of one type twice",
            refund,
            |r| r.header("content-type", "application/x-www-form-urlencoded"),
            Refused("duplicate_header", "`content-type`"),
        ),
        case(
            "form with another parameter",
            refund,
            |r| r.label("content-type", "application/x-www-form-urlencoded; q=1"),
            FORM,
        ),
        case(
            "form with a trailing semicolon",
            refund,
            |r| r.label("content-type", "application/x-www-form-urlencoded;"),
            FORM,
        ),
        case(
            "JSON said to be a form",
            transfer,
            |r| r.label("content-type", "application/x-www-form-urlencoded"),
            JSON,
        ),
        case(
            "JSON said to be text",
            transfer,
            |r| r.label("content-type", "text/plain"),
            JSON,
        ),
        case(
            "JSON said to be text/json",
            transfer,
            |r| r.label("content-type", "text/json"),
            JSON,
        ),
        case(
            "JSON of a vendor",
            transfer,
            |r| r.label("content-type", "application/vnd.api+json"),
            JSON,
        ),
        case(
            "JSON of a prefix",
            transfer,
            |r| r.label("content-type", "application/jsonp"),
            JSON,
        ),
        case(
            "JSON without a type",
            transfer,
            |r| r.unlabel("content-type"),
            JSON,
        ),
        case(
            "JSON in UTF-16",
            transfer,
            |r| r.label("content-type", "application/json; charset=utf-16"),
            JSON,
        ),
        case(
            "JSON with two charsets",
            transfer,
            |r| {
                r.label(
                    "content-type",
                    "application/json; charset=utf-8; charset=utf-16",
                )
            },
            JSON,
        ),
        case(
            "JSON type is not ASCII",
            transfer,
            |r| r.label("content-type", "application/jsön"),
            JSON,
        ),
        case(
            "JSON of a read mislabelled",
            search,
            |r| r.label("content-type", "text/plain"),
            JSON,
        ),
        case(
            "streamed body mislabelled",
            blob,
            |r| r.label("content-type", "text/plain"),
            JSON,
        ),
        case(
            "streamed body without a type",
            blob,
            |r| r.unlabel("content-type"),
            JSON,
        ),
        case(
            "multipart of another kind",
            upload,
            |r| r.label("content-type", "multipart/mixed; boundary=BOUND"),
            MULTIPART,
        ),
        case(
            "multipart without a boundary",
            upload,
            |r| r.label("content-type", "multipart/form-data"),
            MULTIPART,
        ),
        case(
            "multipart with an empty boundary",
            upload,
            |r| r.label("content-type", "multipart/form-data; boundary="),
            MULTIPART,
        ),
        case(
            "multipart with two boundaries",
            upload,
            |r| {
                r.label(
                    "content-type",
                    "multipart/form-data; boundary=BOUND; boundary=X",
                )
            },
            MULTIPART,
        ),
        case(
            "multipart with a long boundary",
            upload,
            |r| {
                r.label(
                    "content-type",
                    &format!("multipart/form-data; boundary={}", "b".repeat(71)),
                )
            },
            MULTIPART,
        ),
        case(
            "multipart with a blank in its boundary",
            upload,
            |r| r.label("content-type", "multipart/form-data; boundary=\"B D\""),
            MULTIPART,
        ),
        case(
            "gzip",
            transfer,
            |r| r.header("content-encoding", "gzip"),
            Refused("compressed_body", "uncompressed"),
        ),
        case(
            "brotli form",
            refund,
            |r| r.header("content-encoding", "br"),
            Refused("compressed_body", "uncompressed"),
        ),
        case(
            "identity coding",
            refund,
            |r| r.header("content-encoding", "identity"),
            Refused("compressed_body", "Content-Encoding"),
        ),
        case(
            "gzip of a read",
            search,
            |r| r.header("content-encoding", "gzip"),
            Refused("compressed_body", "uncompressed"),
        ),
        case(
            "gzip of a stream",
            blob,
            |r| r.header("content-encoding", "gzip"),
            Refused("compressed_body", "uncompressed"),
        ),
        case(
            "body on a GET",
            read,
            |r| r.more("x"),
            Refused("body_not_allowed", "without a body"),
        ),
        case(
            "JSON body on a GET",
            read,
            |r| {
                r.header("content-type", "application/json");
                r.more("{}")
            },
            Refused("body_not_allowed", "without a body"),
        ),
        case(
            "body on a DELETE",
            removal,
            |r| r.more("reason=x"),
            Refused("body_not_allowed", "`shop.accounts.delete`"),
        ),
        case(
            "form over the limit",
            refund,
            |r| r.more(&format!("&metadata[x]={}", "a".repeat(4096))),
            Refused("body_too_large", "4096 bytes"),
        ),
        case(
            "JSON over the limit by blanks",
            transfer,
            |r| r.more(&" ".repeat(4096)),
            Refused("body_too_large", "4096 bytes"),
        ),
        case(
            "multipart over the limit",
            upload,
            |r| r.swap("PDF", &"P".repeat(4096)),
            Refused("body_too_large", "4096 bytes"),
        ),
        case(
            "stream over the limit",
            blob,
            |r| r.more(&"x".repeat(64)),
            Refused("body_too_large", "64 bytes"),
        ),
        case(
            "read over the limit",
            search,
            |r| r.more(&" ".repeat(4096)),
            Refused("body_too_large", "4096 bytes"),
        ),
    ]
}

pub(super) fn hints() -> Vec<Case> {
    const TRACE: Want = Refused("unparsable", "`traceparent`");
    vec![
        case(
            "task twice",
            refund,
            |r| {
                r.header("actpass-task", "a");
                r.header("actpass-task", "b")
            },
            Refused("duplicate_header", "`actpass-task`"),
        ),
        case(
            "rationale too long",
            refund,
            |r| r.header("ActPass-Rationale", &"r".repeat(1025)),
            Refused("unparsable", "at most 1024 bytes"),
        ),
        case(
            "purpose not UTF-8",
            refund,
            |r| r.headers.push(("actpass-purpose".into(), vec![0xff])),
            Refused("unparsable", "UTF-8"),
        ),
        case(
            "purpose with a control character",
            refund,
            |r| r.header("actpass-purpose", "a\u{85}b"),
            Refused("unparsable", "control characters"),
        ),
        case(
            "tool hash with a tab",
            refund,
            |r| r.header("actpass-tool-hash", "a\tb"),
            Refused("unparsable", "control characters"),
        ),
        case(
            "confidence over 100",
            refund,
            |r| r.header("actpass-confidence", "101"),
            Refused("unparsable", "0 to 100"),
        ),
        case(
            "confidence negative",
            refund,
            |r| r.header("actpass-confidence", "-1"),
            Refused("unparsable", "0 to 100"),
        ),
        case(
            "confidence a fraction",
            refund,
            |r| r.header("actpass-confidence", "0.9"),
            Refused("unparsable", "0 to 100"),
        ),
        case(
            "confidence with a plus sign",
            refund,
            |r| r.header("actpass-confidence", "+9"),
            Refused("unparsable", "0 to 100"),
        ),
        case(
            "confidence empty",
            read,
            |r| r.header("actpass-confidence", ""),
            Refused("unparsable", "0 to 100"),
        ),
        case(
            "trace parent made up",
            read,
            |r| r.header("traceparent", "abc"),
            TRACE,
        ),
        case(
            "trace parent in capitals",
            read,
            |r| r.header("traceparent", &trace().to_uppercase()),
            TRACE,
        ),
        case(
            "trace parent of version ff",
            read,
            |r| r.header("traceparent", &trace().replacen("00", "ff", 1)),
            TRACE,
        ),
        case(
            "trace parent with more fields",
            read,
            |r| r.header("traceparent", &format!("{}-00", trace())),
            TRACE,
        ),
        case(
            "trace parent twice",
            read,
            |r| {
                r.header("traceparent", &trace());
                r.header("traceparent", &trace())
            },
            Refused("duplicate_header", "`traceparent`"),
        ),
    ]
}
