//! A table of settings: a struct of what is set, with its readers and writers.

/// Defines a struct of optional settings, each with its form, that is read from a map by `serde` or from variables, merged
/// and printed.
#[doc(hidden)]
#[macro_export]
macro_rules! settings_table {
    ($(#[$about:meta])* pub struct $name:ident {
        $( #[doc = $description:literal] $key:ident: $type:ty as $form:ty, )*
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Default, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            $( #[doc = $description] pub $key: Option<$type>, )*
        }

        impl $name {
            /// Names of all settings.
            pub const KEYS: &'static [&'static str] = &[$( stringify!($key) ),*];

            /// Reads the variables whose names begin with `prefix`; the rest of the name is a setting in upper case.
            ///
            /// # Errors
            /// A variable with this prefix is no setting, or its value cannot be read.
            pub fn from_variables(
                prefix: &str,
                variables: impl IntoIterator<Item = (String, String)>,
            ) -> Result<Self, $crate::settings::SettingError> {
                let mut read = Self::default();
                for (name, value) in variables {
                    if let Some(key) = name.strip_prefix(prefix) {
                        let set = read.set(&key.to_ascii_lowercase(), &value);
                        set.map_err(|error| error.variable(name))?;
                    }
                }
                Ok(read)
            }

            /// Sets the setting of this name by its text.
            ///
            /// # Errors
            /// There is no such setting, or the value cannot be read.
            pub fn set(&mut self, key: &str, text: &str) -> Result<(), $crate::settings::SettingError> {
                match key {
                    $( stringify!($key) => {
                        let read = <$form as $crate::settings::Form<$type>>::read(text.trim());
                        let accepted = <$form as $crate::settings::Form<$type>>::accepted;
                        let unreadable =
                            || $crate::settings::SettingError::unreadable(stringify!($key), text, accepted());
                        self.$key = Some(read.ok_or_else(unreadable)?);
                    } )*
                    _ => return Err($crate::settings::SettingError::unknown(key, Self::KEYS)),
                }
                Ok(())
            }

            /// Takes from `other` what is not set here.
            #[must_use = "the settings of both are returned"]
            pub fn or(self, other: Self) -> Self {
                Self { $( $key: self.$key.or(other.$key), )* }
            }

            /// Settings that are set, each with its value.
            pub fn values(&self) -> Vec<(&'static str, $crate::settings::Value)> {
                let mut values = Vec::new();
                $( if let Some(value) = &self.$key {
                    values.push((stringify!($key), <$form as $crate::settings::Form<$type>>::write(value)));
                } )*
                values
            }

            /// Descriptions of all settings.
            pub fn described() -> Vec<$crate::settings::Described> {
                vec![$( $crate::settings::Described {
                    key: stringify!($key),
                    description: $description,
                    accepted: <$form as $crate::settings::Form<$type>>::accepted(),
                    schema: <$form as $crate::settings::Form<$type>>::schema(),
                } ),*]
            }
        }

        /// `key=value` of what is set, between spaces.
        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                for (n, (key, value)) in self.values().into_iter().enumerate() {
                    write!(f, "{}{key}={value}", if n == 0 { "" } else { " " })?;
                }
                Ok(())
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.values())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let pairs = ::std::collections::BTreeMap::<String, $crate::settings::Value>::deserialize(deserializer)?;
                let mut read = Self::default();
                for (key, value) in pairs {
                    read.set(&key, &value.to_string()).map_err(::serde::de::Error::custom)?;
                }
                Ok(read)
            }
        }
    };
}

#[cfg(feature = "producer")]
pub(super) use settings_table;
