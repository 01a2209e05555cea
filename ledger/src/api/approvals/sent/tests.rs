use actpass_core::hash::b64u_encode;

use super::*;

fn kept(content_type: &str, body: &[u8]) -> Vec<u8> {
    let request = SealedRequest {
        body: b64u_encode(body),
        headers: vec![(
            "content-type".to_owned(),
            b64u_encode(content_type.as_bytes()),
        )],
        host: "api.stripe.com".to_owned(),
        http2: false,
        method: "POST".to_owned(),
        port: 443,
        target: "/v1/refunds".to_owned(),
        v: SEALED_VERSION.to_owned(),
    };
    serde_json::to_vec(&request).unwrap()
}

#[test]
fn every_value_of_a_body_is_shown() {
    struct Case {
        name: &'static str,
        given: (&'static str, &'static [u8]),
        want: &'static [(&'static str, &'static str)],
    }
    let cases = [
        Case {
            name: "no body",
            given: ("", b""),
            want: &[],
        },
        Case {
            name: "a form, decoded, in its order",
            given: (
                "application/x-www-form-urlencoded; charset=utf-8",
                b"charge=ch_1&payment_intent=pi_OTHER&metadata%5Bsettle_to%5D=a+b",
            ),
            want: &[
                ("charge", "ch_1"),
                ("payment_intent", "pi_OTHER"),
                ("metadata[settle_to]", "a b"),
            ],
        },
        Case {
            name: "JSON, each leaf by its place",
            given: (
                "Application/JSON",
                br#"{"to":{"iban":"X"},"lines":[{"n":1.50},true],"a.b":null,"e":[],"":"x"}"#,
            ),
            want: &[
                ("to.iban", "X"),
                ("lines[0].n", "1.50"),
                ("lines[1]", "true"),
                ("[\"a.b\"]", "null"),
                ("e", "[]"),
                ("[\"\"]", "x"),
            ],
        },
        Case {
            name: "parts, files that are no text by size and hash",
            given: (
                "multipart/form-data; boundary=\"b-1\"",
                b"--b-1\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\nall\r\n--b-1\r\nContent-Disposition: \
                  form-data; name=\"f\"; filename=\"x\"\r\nContent-Type: image/png\r\n\r\n\xff\xfe\r\n--b-1--\r\n",
            ),
            want: &[
                ("Content-Disposition: form-data; name=\"to\"", "all"),
                (
                    "Content-Disposition: form-data; name=\"f\"; filename=\"x\"; Content-Type: image/png",
                    "2 bytes, SHA-256 b3d510ef04275ca8e698e5b3cbb0ece3949ef9252f0cdc839e9ee347409a2209",
                ),
            ],
        },
        Case {
            name: "multipart without its end stands as it is",
            given: ("multipart/form-data; boundary=b", b"--b\r\nx"),
            want: &[("multipart/form-data", "--b\r\nx")],
        },
        Case {
            name: "a form that reads as none stands as it is",
            given: ("application/x-www-form-urlencoded", b"a=1&a=2"),
            want: &[("application/x-www-form-urlencoded", "a=1&a=2")],
        },
        Case {
            name: "bytes of another type",
            given: ("application/octet-stream", b"a\xff"),
            want: &[("application/octet-stream", "a\\xff")],
        },
    ];
    for Case { name, given, want } in cases {
        let found = body(&kept(given.0, given.1)).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|one| (one.name.as_str(), one.value.as_str()))
            .collect();
        assert_eq!(found, want, "{name}");
    }
    assert!(body(b"{}").is_err(), "no kept request");
}

#[test]
fn a_list_carries_what_no_fact_shows_and_says_how_much_it_leaves_out() {
    let of = |name: &str, value: &str, fact| SentView {
        fact,
        ..sent(SentPlace::Body, name.to_owned(), value.to_owned())
    };
    let long = "x".repeat(LISTED_BYTES_MAX);
    let all = vec![
        of("amount", "400000", true),
        of("payment_intent", "pi_OTHER", false),
        of("note", &long, false),
        of("small", "1", false),
    ];
    let named =
        |kept: &[SentView]| -> Vec<String> { kept.iter().map(|one| one.name.clone()).collect() };
    let mut left = usize::MAX;
    let (kept, more) = listed(all.clone(), &mut left);
    assert_eq!((named(&kept), more), (vec!["payment_intent".to_owned()], 2));
    assert_eq!(left, usize::MAX - "payment_intentpi_OTHER".len());
    // What others of the list took is not there any more.
    let (kept, more) = listed(all, &mut 10);
    assert_eq!((named(&kept), more), (Vec::new(), 3));
}
