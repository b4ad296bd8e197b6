//! Countries by their codes.

use crate::shape::{Misfit, Shape, TextShape, Written, text};
use std::fmt;

/// A country: two letters of ISO 3166-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// A country by its two capital letters, also one that only a database knows.
    pub const fn try_new(code: [u8; 2]) -> Option<Self> {
        match code[0].is_ascii_uppercase() && code[1].is_ascii_uppercase() {
            true => Some(Self(code)),
            false => None,
        }
    }

    /// The two letters.
    pub const fn code(self) -> [u8; 2] {
        self.0
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", char::from(self.0[0]), char::from(self.0[1]))
    }
}

impl Written for Country {
    fn shape() -> impl Shape<Value = Self> {
        country()
    }
}

fn country() -> TextShape<Country> {
    text("a country code of ISO 3166 such as `DE`", |text| {
        let upper = text.to_ascii_uppercase();
        let is_assigned = |code: &str| ASSIGNED.split_ascii_whitespace().any(|known| known == code);
        let code = text.as_bytes().try_into().ok().and_then(Country::try_new);
        match (code, upper.as_str()) {
            (Some(code), _) if is_assigned(text) => Ok(code),
            (_, "UK") => Err(Misfit::form().help("did you mean `GB`?")),
            (_, "EU") => Err(Misfit::form().help("list the countries")),
            _ if is_assigned(&upper) => {
                Err(Misfit::form().help(format!("did you mean `{upper}`?")))
            }
            _ => Err(Misfit::form()),
        }
    })
}

/// The codes that are officially assigned, and Kosovo's, which databases use.
const ASSIGNED: &str = "
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR
    BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ
    EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW
    GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY
    KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV
    MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY
    QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG
    TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA
    ZM ZW";
