"""Wrong arguments, and words of the lines that refuse them."""

REFUSED = {  # arguments: words of the line
    # settings that exclude each other
    "trainer.strategy=miner_ddp trainer.num_nodes=2": ["trainer.num_nodes=2:", "srun", "NODE_RANK"],
    # the image
    "image.path=missing.png": ["'missing.png'", "does not exist", "sample:moon"],
    "image.path=*.png": ["'*.png'", "does not exist"],
    "image.path=folder.png": ["'folder.png'", "folder", "one image file", "-m"],
    "image.path=été.png": ["'été.png' does not exist"],
    "image.max_pixels=479": ["'picture.png'", "24 x 20", "image.max_pixels to 480"],
    # the output folder
    "hydra.run.dir=text.png/run": ["hydra.run.dir=text.png/run", "cannot be written", "another"],
    "hydra.run.dir=saved": ["saved", "was not made by this run", "another folder"],
    "+image=3": ["error: the configuration: "],
    "resume=nowhere": ["resume=nowhere", "no run was begun", "name the folder of a run"],
    "resume=swept": ["resume=swept", "is a sweep", "hydra.sweep.dir=swept"],
    "-m resume=nowhere": ["resume=nowhere", "single run", "hydra.sweep.dir"],
    # sweeps
    "-m trainer=ddp seed=0,1": ["trainer.strategy=miner_ddp:", "one by one"],
    "-m seed=0,1 hydra.launcher=joblib": ["hydra.launcher=joblib:", "hydra/launcher=joblib"],
    "-m seed=0,0": ["seed=0 and", "the same job", "leave one"],
    "-m hparams_search=optuna image=camera,brick": ["image:", "easiest of 2", "one at a time"],
    "-m optimizer.lr=interval(0,1)": ["optimizer.lr=interval(0,1):", "hydra/sweeper=optuna"],
    "-m seed=0,1 hydra/launcher=submitit_slurm": ["=submitit_slurm:", "srun", "joblib"],
    "-m seed=0,1 hydra/launcher=submitit_local": [
        "=submitit_local:",
        "all 2 jobs at once",
        "hydra.sweeper.max_batch_size=2",
    ],
    "-m --cfg=job seed=0,1": ["--cfg:", "leave out -m"],
    "-m seed=0,1 hydra.sweep.dir=done": ["hydra.sweep.dir=done:", "single run", "another folder"],
    "-m seed=0,1 hydra.sweep.subdir=same": ["hydra.sweep.subdir=same"],
    "pyramid=null": ["pyramid=null:", "gaussian, laplacian"],
    "fitting.max_mse=1e-5 fitting.target_psnr=50": ["only one", "max_mse"],
    # names that do not exist
    "max_steps=3": ["max_steps=3:", "did you mean fitting.max_steps?"],
    "pyramid=laplacain": ["pyramid=laplacain:", "did you mean laplacian?", "gaussian, laplacian"],
    "-m seed=0,1 hydra/launcher=jobli": ["hydra/launcher=jobli:", "joblib?"],
    "resume=begun max_steps=3": ["max_steps=3:", "did you mean fitting.max_steps?"],
    # arguments of another form
    "seed=0,1": ["seed=0,1:", "-m"],
    "picture.png text.png": ["picture.png text.png:", "one image", "-m"],
    "-m image.path=picture.png,missing.png": ["'missing.png'"],
}

OF_SETTINGS = {  # wrong whoever composed the settings
    "trainer.devices=2": ["trainer.devices=2:", "trainer=ddp"],
    "trainer.num_nodes=2": ["trainer.num_nodes=2:", "trainer=ddp"],
    "fitting.max_steps=[3,3,3]": ["fitting.max_steps=[3, 3, 3]:", "levels is 2", "n_levels"],
    "model.width=[6,5,4]": ["model.width=[6, 5, 4]:", "levels is 2", "n_levels"],
    "pyramid.n_levels=auto model.width=[6,5]": ["model.width=[6, 5]:", "n_levels"],
    "image.crop_px=0": ["image.crop_px=0:", "at least 1", "null"],
    "optimizer=adam optimizer.betas=[2,3]": ["optimizer", "Invalid beta", "2"],
    "+optimizer.beta=2": ["optimizer", "'beta'"],
    "optimizer._target_=torch.optim.Adams": ["optimizer._target_=torch.optim.Adams:"],
    "capacity=target_error +capacity.widest=3": ["capacity", "'widest'"],
    "objective=psnr_at_bits objective.cost=nonsense": ["objective.cost=nonsense", "file_bytes"],
    "activation=sine +activation.b=2": ["activation", "'b'"],
    "activation=sine activation._target_=torch.nn.ReLU": ["activation._target_=", "subclass"],
    "model._target_=miner.models.activations.Sine": ["subclass of miner.models.network.BlockModel"],
    "+model.widht=3": ["model._target_=", "'widht'"],
    "~activation._target_": ["activation._target_:", "class"],
    "logger=wandb logger.wandb.offline=maybe": ["logger.wandb.offline=maybe:"],
    "logger=wandb logger.wandb.tags=5": ["logger.wandb.tags=5:"],
    "optimizer.lr=fast": ["optimizer.lr=fast:", "above 0"],
    "fitting.batch_pixels=65": ["fitting.batch_pixels=65:", "64 pixels", "all"],
    "image.path=''": ["image.path=:", "sample:NAME"],
    "image.nodata=x": ["image.nodata=x:", "auto, none, or a number"],
    "image.nodata=nan": ["image.nodata=nan:", "NaN always is no data"],
    "image.mask=missing.png": ["'missing.png' does not exist"],
    "image.mask=sample:moon": [
        "'sample:moon' has 512 x 512 pixels, and the image 'picture' 24 x 20"
    ],
    "optimizer._target_=torch.optim.LBFGS ~optimizer.betas": ["LBFGS", "adam"],
    "+callbacks.x=3": ["callbacks.x=3:", "_target_", "null"],
    "+callbacks.x.a=3": ["callbacks.x._target_:", "missing"],
    "callbacks.pictures=false": ["callbacks.pictures=false:", "null"],
    "+callbacks.x._target_=nowhere.Callback": ["callbacks.x._target_=nowhere.Callback:", "import"],
    "trainer.callbacks=[{_target_:a.B}]": ["trainer.callbacks[0]._target_=a.B:", "import"],
    "+fiting.max_mse=3": ["fiting.max_mse=3:", "did you mean fitting.max_mse?"],
    "patch_size=${nowhere}": ["patch_size", "nowhere"],
    "extras.enforce_tags=true": ["tags=[]:", "extras.enforce_tags", "tags=[a,b]"],
}

OF_HYDRA = {  # Hydra composes nothing of them
    "logger=[wandb,tensorboad]": ["logger=tensorboad:", "did you mean tensorboard?"],
    "fitting.max_step=4": ["fitting.max_step=4:", "did you mean fitting.max_steps?"],
    "trainer.max_steps=3": ["trainer.max_steps=3:"],
    "optimizer.bettas=[0,1]": ["optimizer.bettas=[0,1]:", "did you mean optimizer.betas?"],
    "optimizer.eps=1e-8": ["optimizer.eps=1e-8:", "no such setting"],
    "capacity=uniform capacity.max_width=9": ["capacity.max_width=9:", "chosen capacity"],
    "pyramyd=laplacian": ["pyramyd=laplacian:", "did you mean pyramid?"],
    "experiment=ablation/pyramyd": ["did you mean ablation/pyramid?"],
    "experiment=search": ["experiment=search:", "hparams_search=optuna"],
    "hydra.run.dr=run": ["hydra.run.dr=run:", "did you mean hydra.run.dir?"],
    "~optimiser": ["~optimiser:", "did you mean optimizer?"],
    "pictur.png": ["pictur.png:", "is no file", "name=value"],
    "seed=range(0,2)": ["seed=range(0,2):", "-m"],
    "image=/a/photo.jpg": ["image=/a/photo.jpg:", "use image.path=/a/photo.jpg"],
}

SIMILAR = {  # to others, and refused by the same rule
    "-m logger=none,csv": ["logger=none", "logger=csv", "the same job"],
    "-m hparams_search=optuna seed=0,1": ["seed:", "one at a time"],
    "-m image.path=picture.png,./picture.png": ["./picture.png", "the same"],
    "-m seed=0,1 hydra/launchr=joblib": ["hydra/launchr=joblib:", "hydra/launcher?"],
    "resume=nowhere hydra.run.dir=else": ["resume=nowhere", "leave out"],
}
