"""What the tests share: slow, independent twins of what the package computes, and the nets and pictures they are run on."""
