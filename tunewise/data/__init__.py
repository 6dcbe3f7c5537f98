"""Reading tables, built-in corpora, splits, audits.

`tables` reads what `text_files`, `encodings` and `columns` understand, `corpora` what comes in archives; `dataset`
makes labelled rows with ids of it, `classes` decides what is a label; `split` gives each row its side;
`audit` says what is wrong (`findings`, `copies`, `leaks`); `forms` and `duplicates` find equal and
nearly equal texts.
"""
