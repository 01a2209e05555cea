use proptest::prelude::*;

use super::*;

const KWD: &str = "KWD";

#[test]
fn decimal_text_is_read_exactly() {
    struct Case {
        given: &'static str,
        currency: &'static str,
        want: i64,
    }
    let cases = [
        Case {
            given: "120.00",
            currency: "USD",
            want: 12_000,
        },
        Case {
            given: "120",
            currency: "USD",
            want: 12_000,
        },
        Case {
            given: "120.5",
            currency: "USD",
            want: 12_050,
        },
        Case {
            given: "0.01",
            currency: "USD",
            want: 1,
        },
        Case {
            given: "0",
            currency: "USD",
            want: 0,
        },
        Case {
            given: "0.00",
            currency: "USD",
            want: 0,
        },
        Case {
            given: "500",
            currency: "JPY",
            want: 500,
        },
        Case {
            given: "1.005",
            currency: KWD,
            want: 1_005,
        },
        Case {
            given: "92233720368547758.07",
            currency: "USD",
            want: i64::MAX,
        },
    ];
    for Case {
        given,
        currency,
        want,
    } in cases
    {
        let currency = Currency::parse(currency).unwrap();
        assert_eq!(
            Money::parse_major(given, currency),
            Ok(Money::new(want, currency)),
            "{given}"
        );
    }
    assert_eq!(
        Money::parse_minor("12000", Currency::USD),
        Ok(Money::new(12_000, Currency::USD))
    );
    assert_eq!(
        Money::parse_minor("0", Currency::USD),
        Ok(Money::new(0, Currency::USD))
    );
    assert_eq!(
        Money::parse_minor("9223372036854775807", Currency::USD),
        Ok(Money::new(i64::MAX, Currency::USD))
    );
}

#[test]
fn every_other_text_is_refused_for_its_own_reason() {
    struct Case {
        given: &'static str,
        want: fn(String) -> MoneyError,
    }
    let both = [
        Case {
            given: "",
            want: |_| MoneyError::Empty,
        },
        Case {
            given: "-1",
            want: MoneyError::Negative,
        },
        Case {
            given: "-0",
            want: MoneyError::Negative,
        },
        Case {
            given: "+1",
            want: MoneyError::PlusSign,
        },
        Case {
            given: " 1",
            want: MoneyError::WhiteSpace,
        },
        Case {
            given: "1\n",
            want: MoneyError::WhiteSpace,
        },
        Case {
            given: "1 000",
            want: MoneyError::WhiteSpace,
        },
        Case {
            given: "1e309",
            want: MoneyError::Exponent,
        },
        Case {
            given: "12E3",
            want: MoneyError::Exponent,
        },
        Case {
            given: "NaN",
            want: MoneyError::NotFinite,
        },
        Case {
            given: "-Infinity",
            want: MoneyError::NotFinite,
        },
        Case {
            given: "inf",
            want: MoneyError::NotFinite,
        },
        Case {
            given: "1,000",
            want: MoneyError::NotANumber,
        },
        Case {
            given: "1_000",
            want: MoneyError::NotANumber,
        },
        Case {
            given: "0x10",
            want: MoneyError::NotANumber,
        },
        Case {
            given: "$1",
            want: MoneyError::NotANumber,
        },
        Case {
            given: "ten",
            want: MoneyError::NotANumber,
        },
        Case {
            given: "007",
            want: MoneyError::LeadingZero,
        },
        Case {
            given: "00",
            want: MoneyError::LeadingZero,
        },
        Case {
            given: "12345678901234567890123456789012345678",
            want: MoneyError::TooLarge,
        },
        Case {
            given: "9223372036854775808",
            want: MoneyError::TooLarge,
        },
    ];
    for Case { given, want } in both {
        assert_eq!(
            Money::parse_major(given, Currency::USD),
            Err(want(given.escape_default().to_string())),
            "{given}"
        );
        assert_eq!(
            Money::parse_minor(given, Currency::USD),
            Err(want(given.escape_default().to_string())),
            "{given}"
        );
    }
    for given in ["１２", "٣", "²"] {
        assert!(
            matches!(
                Money::parse_major(given, Currency::USD),
                Err(MoneyError::ForeignDigit(_))
            ),
            "{given}"
        );
        assert!(
            matches!(
                Money::parse_minor(given, Currency::USD),
                Err(MoneyError::ForeignDigit(_))
            ),
            "{given}"
        );
    }
    for given in [".5", "5.", ".", "1.2.3", "1..2"] {
        assert_eq!(
            Money::parse_major(given, Currency::USD),
            Err(MoneyError::LonePoint(given.to_owned())),
            "{given}"
        );
    }
    for given in ["1.0", "1."] {
        assert_eq!(
            Money::parse_minor(given, Currency::USD),
            Err(MoneyError::DecimalPoint(given.to_owned())),
            "{given}"
        );
    }
    assert_eq!(
        Money::parse_major("01.5", Currency::USD),
        Err(MoneyError::LeadingZero("01.5".to_owned()))
    );
    let refused = Money::parse_major("1.000", Currency::USD).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "amount `1.000` has 3 decimals, but USD has 2"
    );
    let refused = Money::parse_major("1.5", Currency::JPY).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "amount `1.5` has 1 decimals, but JPY has 0"
    );
}

#[test]
fn amounts_are_shown_with_all_their_decimals() {
    let kwd = Currency::parse(KWD).unwrap();
    for (minor, currency, want) in [
        (12_000, Currency::USD, "120.00 USD"),
        (5, Currency::USD, "0.05 USD"),
        (-5, Currency::USD, "-0.05 USD"),
        (500, Currency::JPY, "500 JPY"),
        (1_005, kwd, "1.005 KWD"),
        (i64::MIN, Currency::USD, "-92233720368547758.08 USD"),
    ] {
        assert_eq!(Money::new(minor, currency).to_string(), want);
    }
}

#[test]
fn currencies_do_not_mix_and_sums_do_not_wrap() {
    let usd = |minor| Money::new(minor, Currency::USD);
    let eur = Money::new(1, Currency::EUR);
    let mismatch = MoneyError::CurrencyMismatch {
        left: Currency::USD,
        right: Currency::EUR,
    };
    assert_eq!(usd(1).checked_add(eur), Err(mismatch.clone()));
    assert_eq!(usd(1).checked_sub(eur), Err(mismatch.clone()));
    assert_eq!(usd(1).checked_cmp(eur), Err(mismatch));
    assert_eq!(usd(i64::MAX).checked_add(usd(1)), Err(MoneyError::Overflow));
    assert_eq!(usd(i64::MIN).checked_sub(usd(1)), Err(MoneyError::Overflow));
    assert_eq!(usd(1).checked_sub(usd(3)), Ok(usd(-2)));
    assert_eq!(usd(1).checked_cmp(usd(3)), Ok(std::cmp::Ordering::Less));
}

#[test]
fn the_wire_form_is_text_and_has_one_spelling() {
    let text = r#"{"minor":"1250","currency":"EUR"}"#;
    let money = Money::new(1250, Currency::EUR);
    assert_eq!(serde_json::to_string(&money).unwrap(), text);
    assert_eq!(serde_json::from_str::<Money>(text).unwrap(), money);
    for refused in [
        r#"{"minor":1250,"currency":"EUR"}"#,
        r#"{"minor":"+1250","currency":"EUR"}"#,
        r#"{"minor":"01250","currency":"EUR"}"#,
        r#"{"minor":"-0","currency":"EUR"}"#,
        r#"{"minor":"12.50","currency":"EUR"}"#,
        r#"{"minor":"1250","currency":"eur"}"#,
        r#"{"minor":"1250","currency":"XXX"}"#,
        r#"{"minor":"1250"}"#,
        r#"{"minor":"1250","currency":"EUR","scale":2}"#,
        r#"{"minor":"1250","minor":"1","currency":"EUR"}"#,
    ] {
        assert!(serde_json::from_str::<Money>(refused).is_err(), "{refused}");
    }
}

#[test]
fn currency_codes_are_those_of_iso_4217() {
    assert_eq!(Currency::parse("USD"), Ok(Currency::USD));
    assert_eq!(Currency::parse("JPY"), Ok(Currency::JPY));
    assert_eq!(Currency::parse_any_case("eUr"), Ok(Currency::EUR));
    for refused in ["usd", "US", "USDD", "", "XXX", "XAU", "DEM", "BTC", "UŠD"] {
        assert!(
            matches!(
                Currency::parse(refused),
                Err(MoneyError::UnknownCurrency(_))
            ),
            "{refused}"
        );
    }
    // Folding beyond ASCII would turn the Kelvin sign into a K.
    assert!(Currency::parse_any_case("\u{212a}WD").is_err());
}

proptest! {
    #[test]
    fn major_text_reads_back(minor in 0..=i64::MAX, code in prop::sample::select(vec!["USD", "JPY", "KWD"])) {
        let money = Money::new(minor, Currency::parse(code).unwrap());
        prop_assert_eq!(Money::parse_major(&money.to_major_text(), money.currency()), Ok(money));
        prop_assert_eq!(Money::parse_minor(&minor.to_string(), money.currency()), Ok(money));
    }

    #[test]
    fn the_wire_form_reads_back(minor: i64) {
        let money = Money::new(minor, Currency::EUR);
        let text = serde_json::to_string(&money).unwrap();
        prop_assert_eq!(serde_json::from_str::<Money>(&text).unwrap(), money);
    }

    #[test]
    fn no_text_panics(text: String) {
        drop(Money::parse_major(&text, Currency::USD));
        drop(Money::parse_minor(&text, Currency::USD));
        drop(Currency::parse_any_case(&text));
    }

    #[test]
    fn text_that_reads_says_what_was_read(text in "[0-9.]{1,22}") {
        if let Ok(money) = Money::parse_major(&text, Currency::USD) {
            let shown = money.to_major_text();
            let padded = match text.split_once('.') {
                None => format!("{text}.00"),
                Some((_, decimals)) => format!("{text}{}", "0".repeat(2 - decimals.len())),
            };
            prop_assert_eq!(shown, padded);
        }
    }

    #[test]
    fn a_sum_less_one_part_is_the_other(a: i64, b: i64) {
        let [a, b] = [a, b].map(|minor| Money::new(minor, Currency::USD));
        match a.checked_add(b) {
            Ok(sum) => prop_assert_eq!(sum.checked_sub(b), Ok(a)),
            Err(cause) => {
                prop_assert_eq!(cause, MoneyError::Overflow);
                prop_assert!(i64::try_from(i128::from(a.minor()) + i128::from(b.minor())).is_err());
            }
        }
    }
}
