//! Bad requests, each one fault away from a good one, and what is said to each.
//!
//! Plain data, so that the same table runs against the reading of requests alone and against the whole proxy.

mod bodies;
mod heads;
mod values;

/// A request as plain data.
#[derive(Clone, Debug)]
pub(crate) struct Req {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// One bad request.
pub(crate) struct Case {
    /// What is wrong with it.
    pub(crate) name: &'static str,
    /// The good request it is made of.
    pub(crate) base: fn() -> Req,
    /// Makes the one fault.
    pub(crate) break_it: fn(&mut Req),
    /// What it comes to.
    pub(crate) want: Want,
}

/// What a bad request comes to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Want {
    /// Refused with this code, in words that hold this.
    Refused(&'static str, &'static str),
    /// An action with this fact at fault, in this way.
    Fault(&'static str, &'static str),
}

/// The upstream that all requests go to.
pub(crate) const UPSTREAM: &str = r#"{
  "name": "shop", "hosts": ["api.shop.test"], "ports": [443], "addresses": "Public", "protocol": "HTTP",
  "tls": {"mode": "Intercept", "ca_bundle": null}, "credentials": [], "error_style": "Problem", "failed_statuses": [],
  "actions": [
    {"capability": "shop.refunds.create", "method": "POST", "path": "/v1/refunds", "effect": "Irreversible",
     "body": {"format": "Form", "max_bytes": 4096, "mode": "Buffered"},
     "params": ["charge", "amount", "reason", "copies", "urgent", "metadata[*]", "expand[]", "query.dry_run", "query.tag[]"],
     "headers": ["shop-account", "shop-version"],
     "attributes": [
       {"name": "reason", "from": "body.reason", "type": "String", "required": false, "default": "none", "sensitive": false},
       {"name": "copies", "from": "body.copies", "type": "Integer", "required": false, "default": 1, "sensitive": false},
       {"name": "urgent", "from": "body.urgent", "type": "Boolean", "required": false, "default": false, "sensitive": false}],
     "amount": {"from": "body.amount", "unit": "Minor", "currency": {"const": "USD"}}, "resource": "body.charge",
     "meters": [{"name": "refunds", "from": "Amount"}, {"name": "copies", "from": {"Attribute": "copies"}}],
     "idempotency_header": "idempotency-key"},
    {"capability": "shop.transfers.create", "method": "POST", "path": "/v1/transfers", "effect": "Write",
     "body": {"format": "JSON", "max_bytes": 4096, "mode": "Buffered"},
     "params": ["amount", "currency", "to", "note", "copies", "urgent", "lines[*].sku"], "headers": [],
     "attributes": [
       {"name": "note", "from": "body.note", "type": "String", "required": true, "default": null, "sensitive": true},
       {"name": "copies", "from": "body.copies", "type": "Integer", "required": true, "default": null, "sensitive": false},
       {"name": "urgent", "from": "body.urgent", "type": "Boolean", "required": true, "default": null, "sensitive": false}],
     "amount": {"from": "body.amount", "unit": "Major", "currency": {"from": "body.currency"}}, "resource": "body.to",
     "meters": [{"name": "transfers", "from": "Amount"}]},
    {"capability": "shop.wires.create", "method": "PUT", "path": "/v1/wires/{wire}", "effect": "Irreversible",
     "body": {"format": "JSON", "max_bytes": 4096, "mode": "Buffered"},
     "params": ["amount", "query.currency"], "headers": ["shop-account"], "attributes": [],
     "amount": {"from": "body.amount", "unit": "Minor", "currency": {"from": "query.currency"}},
     "resource": "header.shop-account", "meters": [{"name": "wires", "from": {"Constant": 1}}]},
    {"capability": "shop.files.create", "method": "POST", "path": "/v1/files", "effect": "Write",
     "body": {"format": "Multipart", "max_bytes": 4096, "mode": "Buffered"}, "params": ["purpose", "file", "tags[]"],
     "headers": [], "attributes": [], "resource": "body.purpose", "meters": []},
    {"capability": "shop.accounts.delete", "method": "DELETE", "path": "/v1/accounts/{account}", "effect": "Irreversible",
     "body": {"format": "None", "max_bytes": 0, "mode": "Buffered"}, "params": ["query.reason"], "headers": [],
     "attributes": [
       {"name": "reason", "from": "query.reason", "type": "String", "required": true, "default": null, "sensitive": false}],
     "resource": "path.account", "meters": []},
    {"capability": "shop.blobs.put", "method": "PUT", "path": "/v1/blobs/{name}", "effect": "Write",
     "body": {"format": "JSON", "max_bytes": 64, "mode": "Streamed"}, "params": [], "headers": [], "attributes": [],
     "resource": "path.name", "meters": []},
    {"capability": "shop.search", "method": "POST", "path": "/v1/search", "effect": "Read",
     "body": {"format": "JSON", "max_bytes": 4096, "mode": "Buffered"}, "params": [], "headers": [], "attributes": [],
     "meters": []},
    {"capability": "shop.tie.one", "method": "POST", "path": "/v1/tie/{a}", "effect": "Write",
     "body": {"format": "None", "max_bytes": 0, "mode": "Buffered"}, "params": [], "headers": [], "attributes": [],
     "meters": []},
    {"capability": "shop.tie.two", "method": "POST", "path": "/v1/tie/{b}", "effect": "Write",
     "body": {"format": "None", "max_bytes": 0, "mode": "Buffered"}, "params": [], "headers": [], "attributes": [],
     "meters": []},
    {"capability": "shop.read", "method": "GET", "path": "/v1/**", "effect": "Read",
     "body": {"format": "None", "max_bytes": 0, "mode": "Buffered"}, "params": [], "headers": ["shop-account"],
     "attributes": [], "meters": []}
  ]}"#;

impl Req {
    fn new(method: &str, target: &str) -> Self {
        Req {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.header(name, value);
        self
    }

    fn body(mut self, body: &str) -> Self {
        self.body = body.as_bytes().to_vec();
        self
    }

    /// Adds a header, also beside one of that name.
    pub(crate) fn header(&mut self, name: &str, value: &str) {
        self.headers
            .push((name.to_owned(), value.as_bytes().to_vec()));
    }

    /// Gives a header another value.
    fn label(&mut self, name: &str, value: &str) {
        let found = self.headers.iter_mut().find(|(found, _)| found == name);
        found
            .unwrap_or_else(|| panic!("no header {name} to change"))
            .1 = value.as_bytes().to_vec();
    }

    fn unlabel(&mut self, name: &str) {
        let before = self.headers.len();
        self.headers.retain(|(found, _)| found != name);
        assert!(self.headers.len() < before, "no header {name} to remove");
    }

    /// Replaces the one place where the body says `from`.
    pub(crate) fn swap(&mut self, from: &str, to: &str) {
        let text = String::from_utf8(self.body.clone()).unwrap();
        assert_eq!(
            text.matches(from).count(),
            1,
            "the body has exactly one {from}"
        );
        self.body = text.replace(from, to).into_bytes();
    }

    /// Appends to the body.
    pub(crate) fn more(&mut self, text: &str) {
        self.body.extend_from_slice(text.as_bytes());
    }

    fn to(&mut self, target: &str) {
        self.target = target.to_owned();
    }
}

pub(crate) fn refund() -> Req {
    Req::new("POST", "/v1/refunds")
        .with("content-type", "application/x-www-form-urlencoded")
        .with("shop-account", "acct_1")
        .with("idempotency-key", "k-1")
        .body("charge=ch_1&amount=12000&reason=requested_by_customer&copies=2&urgent=true&metadata[order]=7")
}

pub(crate) fn transfer() -> Req {
    Req::new("POST", "/v1/transfers").with("content-type", "application/json").body(
        r#"{"amount":"120.00","currency":"eur","to":"ba_1","note":"rent","copies":3,"urgent":false,"lines":[{"sku":"a"}]}"#,
    )
}

pub(crate) fn wire() -> Req {
    Req::new("PUT", "/v1/wires/w_1?currency=USD")
        .with("content-type", "application/json; charset=utf-8")
        .with("shop-account", "acct_1")
        .body(r#"{"amount":12000}"#)
}

pub(crate) fn upload() -> Req {
    Req::new("POST", "/v1/files").with("content-type", "multipart/form-data; boundary=BOUND").body(
        "--BOUND\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\ndispute\r\n--BOUND\r\nContent-Disposition: \
         form-data; name=\"file\"; filename=\"a.pdf\"\r\nContent-Type: application/pdf\r\n\r\nPDF\r\n--BOUND--\r\n",
    )
}

pub(crate) fn removal() -> Req {
    Req::new("DELETE", "/v1/accounts/acct_1?reason=closed")
}

pub(crate) fn read() -> Req {
    Req::new("GET", "/v1/charges/ch_1?expand[]=refunds&limit=3").with("shop-account", "acct_1")
}

pub(crate) fn search() -> Req {
    Req::new("POST", "/v1/search")
        .with("content-type", "application/json")
        .body(r#"{"anything":{"goes":[1,2.50]}}"#)
}

pub(crate) fn blob() -> Req {
    Req::new("PUT", "/v1/blobs/b_1")
        .with("content-type", "application/json")
        .body("not judged")
}

/// All good requests.
pub(crate) const GOOD: [fn() -> Req; 8] =
    [refund, transfer, wire, upload, removal, read, search, blob];

const fn case(name: &'static str, base: fn() -> Req, break_it: fn(&mut Req), want: Want) -> Case {
    Case {
        name,
        base,
        break_it,
        want,
    }
}

/// All bad requests.
pub(crate) fn all() -> Vec<Case> {
    let heads = [
        heads::paths(),
        heads::targets(),
        heads::heads(),
        heads::labels(),
        heads::hints(),
    ];
    let bodies = [
        bodies::forms(),
        bodies::json(),
        bodies::multiparts(),
        bodies::closed(),
    ];
    let values = [values::amounts(), values::facts()];
    heads
        .into_iter()
        .chain(bodies)
        .chain(values)
        .flatten()
        .collect()
}

/// A trace parent as it should be.
pub(crate) fn trace() -> String {
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()
}
