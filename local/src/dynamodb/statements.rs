//! The kind of a PartiQL statement, by its first words.

/// The kind of a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verb {
    Select,
    Insert,
    Update,
    Delete,
    /// A condition check: EXISTS(SELECT ..).
    Exists,
}

impl Verb {
    /// By the first word; `None` for what is no statement.
    pub(crate) fn of(statement: &str) -> Option<Self> {
        let word: String = statement.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
        match &*word.to_ascii_uppercase() {
            "SELECT" => Some(Verb::Select),
            "INSERT" => Some(Verb::Insert),
            "UPDATE" => Some(Verb::Update),
            "DELETE" => Some(Verb::Delete),
            "EXISTS" => Some(Verb::Exists),
            _ => None,
        }
    }

    /// The action of policies that allows it.
    pub(crate) fn action(self) -> &'static str {
        match self {
            Verb::Select | Verb::Exists => "PartiQLSelect",
            Verb::Insert => "PartiQLInsert",
            Verb::Update => "PartiQLUpdate",
            Verb::Delete => "PartiQLDelete",
        }
    }
}

/// The table that a statement names.
pub(crate) fn table(statement: &str) -> Option<&str> {
    let is_before = |word: &str| ["FROM", "INTO", "UPDATE"].iter().any(|keyword| word.eq_ignore_ascii_case(keyword));
    let mut words = statement.split_whitespace();
    words.find(|word| is_before(word))?;
    words.next()?.trim_matches(['"', ')', ';']).split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_known_by_their_first_words() {
        for (statement, verb, name) in [
            (r#"SELECT * FROM "leases"."by-owner" WHERE owner = ?"#, Verb::Select, "leases"),
            ("  insert into leases value {'k': 'a'}", Verb::Insert, "leases"),
            (r#"UPDATE "leases" SET a = 1 WHERE k = 'a'"#, Verb::Update, "leases"),
            ("DELETE FROM leases WHERE k = 'a'", Verb::Delete, "leases"),
            (r#"EXISTS(SELECT * FROM "leases" WHERE k = 'a')"#, Verb::Exists, "leases"),
        ] {
            assert_eq!((Verb::of(statement), table(statement)), (Some(verb), Some(name)), "{statement}");
        }
        assert_eq!((Verb::of("SELECTED"), table("SELECT")), (None, None));
    }
}
