//! The currencies we know: ISO 4217 active codes of money one can pay with.

use std::fmt;

use super::MoneyError;
use crate::canonical::excerpt;

/// An ISO 4217 currency. Funds, precious metals and test codes (`CLF`, `XAU`, `XXX`) are left out, and so
/// are currencies that have ended: an amount in one of them is refused rather than misread.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency {
    code: &'static str,
    digits: u8,
}

impl Currency {
    /// United States dollar.
    pub const USD: Currency = Currency {
        code: "USD",
        digits: 2,
    };
    /// Euro.
    pub const EUR: Currency = Currency {
        code: "EUR",
        digits: 2,
    };
    /// Japanese yen, which has no minor unit.
    pub const JPY: Currency = Currency {
        code: "JPY",
        digits: 0,
    };

    /// The currency with this upper-case code.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        let found = CODES.iter().find_map(|(digits, codes)| {
            let code = codes.iter().find(|code| **code == text)?;
            Some(Currency {
                code,
                digits: *digits,
            })
        });
        found.ok_or_else(|| MoneyError::UnknownCurrency(excerpt(text)))
    }

    /// As [`Currency::parse`] with letters of any case, for wire values such as Stripe's `usd`.
    pub fn parse_any_case(text: &str) -> Result<Self, MoneyError> {
        Self::parse(&text.to_ascii_uppercase())
            .map_err(|_| MoneyError::UnknownCurrency(excerpt(text)))
    }

    /// The upper-case code.
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// Decimals of the major unit: 2 for USD, 0 for JPY, 3 for KWD. This is ISO 4217's figure; a few
    /// payment providers count differently (Stripe takes MGA in whole units), and for those an Upstream
    /// must not declare `unit: Minor`.
    pub const fn digits(&self) -> u8 {
        self.digits
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code)
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)
    }
}

/// ISO 4217 list one (active codes, 2026) by number of decimals.
const CODES: [(u8, &[&str]); 3] = [
    (
        2,
        &[
            "USD", "EUR", "GBP", "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN",
            "BAM", "BBD", "BDT", "BMD", "BND", "BOB", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD",
            "CAD", "CDF", "CHF", "CNY", "COP", "CRC", "CUP", "CVE", "CZK", "DKK", "DOP", "DZD",
            "EGP", "ERN", "ETB", "FJD", "FKP", "GEL", "GHS", "GIP", "GMD", "GTQ", "GYD", "HKD",
            "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IRR", "JMD", "KES", "KGS", "KHR", "KPW",
            "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "MAD", "MDL", "MGA", "MKD", "MMK",
            "MNT", "MOP", "MRU", "MUR", "MVR", "MWK", "MXN", "MYR", "MZN", "NAD", "NGN", "NIO",
            "NOK", "NPR", "NZD", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "QAR", "RON", "RSD",
            "RUB", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SSP",
            "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TOP", "TRY", "TTD", "TWD", "TZS",
            "UAH", "UYU", "UZS", "VED", "VES", "WST", "XCD", "XCG", "YER", "ZAR", "ZMW", "ZWG",
        ],
    ),
    (
        0,
        &[
            "JPY", "KRW", "BIF", "CLP", "DJF", "GNF", "ISK", "KMF", "PYG", "RWF", "UGX", "VND",
            "VUV", "XAF", "XOF", "XPF",
        ],
    ),
    (3, &["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"]),
];
