"""DAM (Gauthier-Caron et al. 2024): learned coefficients of the columns of every model's matrices.

coefficients   what is learned, and the file that it is kept in
losses         what is minimised: divergences, and terms on the coefficients
mofo           AdamW that changes the entries of the largest momentum alone
learning       the loop: resumable, the same whenever it is repeated
apply          a recipe with learned coefficients as a model
"""
