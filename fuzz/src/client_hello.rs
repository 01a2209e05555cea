//! The first words of a connection with TLS: for whom it is.

mod made;
mod told;

use actpass_core::evidence::record::Refusal;
use rustls::ServerConnection;

use crate::connection::{self, HOST, MINT, PORT};
use crate::input::Input;
use told::{Told, told};

/// Longest target of a refusal, in characters.
const TARGET_CHARS_MAX: usize = 300;

/// First byte of a record with a handshake message (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// Input: how many bytes come at a time, then, for 0, what is sent; else a ClientHello by its parts, in records of that length.
///
/// - Nothing crashes, and nothing is forwarded.
/// - It is answered only where the whole of it names the name dialled and no other, as a second reader and rustls itself say.
/// - What is refused for its name has that name; of half a ClientHello nothing is decided.
/// - What is sent and not answered is on the record.
pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let step = usize::from(input.byte());
    let bytes = match input.byte() {
        0 => input.rest().to_vec(),
        length => made::hello(usize::from(length), &mut input),
    };
    let carried = connection::carry(&bytes, step, true);
    assert_eq!(carried.forwarded, 0);
    let answered = carried.answered.first() == Some(&HANDSHAKE);
    let told = told(&bytes);
    if answered {
        let Told::Whole(names) = &told else {
            panic!("answered on {told:?}")
        };
        let [name] = names.as_slice() else {
            panic!("answered with {names:?}")
        };
        // Capitals and a final dot are other spellings of the same name.
        let bare = name.strip_suffix(b".").unwrap_or(name);
        assert!(bare.eq_ignore_ascii_case(HOST.as_bytes()), "{told:?}");
        let rustls = by_rustls(&bytes).expect("rustls reads it too");
        assert!(name.eq_ignore_ascii_case(rustls.as_bytes()), "{rustls}");
    }
    for refusal in &carried.refused {
        check(refusal, &told, answered);
    }
    let refused = carried.refused.len();
    assert!(refused <= 1 && (refused == 1 || answered || bytes.is_empty()));
}

/// Holds a refusal against what was sent.
fn check(Refusal { code, target }: &Refusal, told: &Told, answered: bool) {
    let about = format!("TLS to {HOST}:{PORT}");
    let said = target.strip_prefix(&about).expect("whom it was to");
    match code.as_str() {
        "unparsable" => assert_eq!(said, ""),
        "host_mismatch" => {
            assert!(!answered);
            let Told::Whole(names) = told else {
                panic!("{said}, on {told:?}")
            };
            match said.strip_prefix(" with server name ") {
                Some(said) => {
                    let [name] = names.as_slice() else {
                        panic!("{said} of {names:?}")
                    };
                    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
                    let room = TARGET_CHARS_MAX - about.len() - " with server name ".len();
                    let name: String = name.escape_debug().take(room).collect();
                    assert_eq!(said.to_ascii_lowercase(), name);
                }
                None => {
                    assert_eq!(said, " with no server name");
                    assert_ne!(names.as_slice(), [HOST.as_bytes()]);
                }
            }
        }
        other => panic!("{other}"),
    }
}

/// The name that rustls takes a handshake to be for.
fn by_rustls(mut bytes: &[u8]) -> Option<String> {
    let config = MINT.server_config(&HOST.parse().ok()?).ok()?;
    let mut connection = ServerConnection::new(config).ok()?;
    while !bytes.is_empty() && connection.server_name().is_none() {
        connection.read_tls(&mut bytes).ok()?;
        // What stands behind the ClientHello may be wrong.
        drop(connection.process_new_packets());
    }
    connection.server_name().map(str::to_owned)
}
