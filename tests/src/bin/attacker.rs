//! Tries every way out of the network it is in and says how each went.

use actpass_tests::ways::WAYS;

fn main() {
    for way in WAYS {
        match (way.attempt)(way) {
            Ok(()) => println!("open: {}", way.name),
            Err(error) => println!("closed: {} ({error})", way.name),
        }
    }
}
