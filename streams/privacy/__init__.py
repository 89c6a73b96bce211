"""The boundary: tags, policy, treatments, pseudonyms. What the schema says is what happens here."""
